"""What settings are called here that other projects have other words for."""

from __future__ import annotations

_EPOCHS = "set train.steps, or train.images: epochs times the images of the set"
_DEVICE = "accelerators are found by themselves, and chosen among with CUDA_VISIBLE_DEVICES"
_SIZE = "set data.height and data.width"
_DATA = "write data=NAME or data=folder:PATH"
_BACKBONE = "write backbone=convnet, vit or mixer"

# a key, or the last word of one -> what to do instead
USUAL = {
    **dict.fromkeys(("lr", "max_lr", "base_lr", "rate"), "set train.learning_rate"),
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "n_epochs", "max_epochs"), _EPOCHS),
    **dict.fromkeys(("iterations", "iters", "num_steps", "max_steps", "total_steps"), "set train.steps"),
    **dict.fromkeys(("bs", "batch", "train_batch_size"), "set train.batch_size"),
    **dict.fromkeys(("accumulate", "gradient_accumulation_steps", "grad_accum"), "set train.micro_batch_size"),
    **dict.fromkeys(("wd", "l2"), "set train.weight_decay"),
    "warmup": "set train.warmup_steps",
    **dict.fromkeys(("grad_clip", "clip_grad", "clip_grad_norm", "max_grad_norm"), "set train.clip_norm"),
    **dict.fromkeys(("amp", "fp16", "bf16", "mixed_precision", "dtype"), "set train.precision"),
    **dict.fromkeys(("optimizer", "optim", "opt"), "it is always AdamW"),
    **dict.fromkeys(("device", "devices", "gpu", "gpus", "cuda", "accelerator"), _DEVICE),
    **dict.fromkeys(("workers", "num_workers"), "images are decoded once; run.threads sets the CPU threads"),
    **dict.fromkeys(("out", "output", "output_dir", "outdir", "log_dir", "logdir", "save_dir"), "set run.dir"),
    **dict.fromkeys(("experiment", "exp_name", "run_name"), "set run.name"),
    "resume": "write --resume auto, or --resume PATH",
    **dict.fromkeys(("dataset", "data_dir", "data_path", "dataroot", "data_root"), _DATA),
    **dict.fromkeys(("data.size", "image_size", "img_size", "resolution"), _SIZE),
    **dict.fromkeys(("model", "arch", "architecture", "network", "net"), _BACKBONE),
    **dict.fromkeys(("dim", "embed_dim", "hidden_dim", "hidden_size", "d_model", "model_channels"), "set trunk.width"),
    **dict.fromkeys(("layers", "num_layers", "n_layers", "num_blocks"), "set trunk.depth"),
    **dict.fromkeys(("heads", "num_heads", "n_heads"), "set trunk.head_width, the channels of a head"),
    "patch_size": "set denoiser.patch; of a vae, family.downsample",
    **dict.fromkeys(("timesteps", "sampling_steps", "num_inference_steps"), "set sample.steps"),
    **dict.fromkeys(("cfg", "cfg_scale", "guidance_scale"), "set sample.guidance"),
    **dict.fromkeys(("ema_decay", "ema_rate"), "set ema.decay"),
}
