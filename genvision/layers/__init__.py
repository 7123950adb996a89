"""Building blocks of trunks and networks: mixings, blocks, embeddings, stems and heads."""
