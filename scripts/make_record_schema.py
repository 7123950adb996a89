"""Write the published JSON Schema of result records anew: `python scripts/make_record_schema.py`."""

from genvision.evaluation.record_schema import PUBLISHED, schema_text
from genvision.storage import write_text

if __name__ == "__main__":
    write_text(PUBLISHED, schema_text())
    print(PUBLISHED)
