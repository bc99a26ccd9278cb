"""Turn the Hugging Face weights of the tiny Voxtral into Mistral's own files, which vLLM loads.

    python convert.py STATE_DICT.pt FOLDER

writes FOLDER/consolidated.safetensors (bfloat16) and FOLDER/params.json. Only Voxtral's names are known; the
position embeddings of the encoder are sinusoids and are left out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load, save

MELS = 128
POSITIONS = 1_500
AUDIO = {"width": 96, "layers": 2, "heads": 3, "hidden": 384}
TEXT = {"width": 128, "layers": 2, "heads": 4, "key_heads": 2, "head": 32, "hidden": 256}
VOCABULARY = 4_096
ROPE_THETA = 100_000_000.0
NORM_EPS = 1e-5
CONTEXT = 32_768

PREFIX = "mm_whisper_embeddings"
ENCODER = rf"{PREFIX}.whisper_encoder"
RENAMED = (
    (r"audio_tower\.conv1\.", rf"{ENCODER}.conv_layers.0."),
    (r"audio_tower\.conv2\.", rf"{ENCODER}.conv_layers.1."),
    (r"audio_tower\.layers\.(\d+)\.self_attn\.([qkv])_proj\.", rf"{ENCODER}.transformer.layers.\1.attention.w\2."),
    (r"audio_tower\.layers\.(\d+)\.self_attn\.out_proj\.", rf"{ENCODER}.transformer.layers.\1.attention.wo."),
    (r"audio_tower\.layers\.(\d+)\.self_attn_layer_norm\.", rf"{ENCODER}.transformer.layers.\1.attention_norm."),
    (r"audio_tower\.layers\.(\d+)\.final_layer_norm\.", rf"{ENCODER}.transformer.layers.\1.ffn_norm."),
    (r"audio_tower\.layers\.(\d+)\.fc([12])\.", rf"{ENCODER}.transformer.layers.\1.feed_forward.w\2."),
    (r"audio_tower\.layer_norm\.", rf"{ENCODER}.transformer.norm."),
    (r"multi_modal_projector\.linear_1\.", rf"{PREFIX}.audio_language_projection.0."),
    (r"multi_modal_projector\.linear_2\.", rf"{PREFIX}.audio_language_projection.2."),
    (r"language_model\.embed_tokens\.", rf"{PREFIX}.tok_embeddings."),
    (r"language_model\.layers\.(\d+)\.self_attn\.([qkvo])_proj\.", r"layers.\1.attention.w\2."),
    (r"language_model\.layers\.(\d+)\.mlp\.gate_proj\.", r"layers.\1.feed_forward.w1."),
    (r"language_model\.layers\.(\d+)\.mlp\.down_proj\.", r"layers.\1.feed_forward.w2."),
    (r"language_model\.layers\.(\d+)\.mlp\.up_proj\.", r"layers.\1.feed_forward.w3."),
    (r"language_model\.layers\.(\d+)\.input_layernorm\.", r"layers.\1.attention_norm."),
    (r"language_model\.layers\.(\d+)\.post_attention_layernorm\.", r"layers.\1.ffn_norm."),
    (r"language_model\.norm\.", "norm."),
    (r"lm_head\.", "output."),
)
ROTARY = re.compile(r"layers\.\d+\.attention\.(wq|wk)\.weight")
POSITION_WEIGHT = "audio_tower.embed_positions.weight"


def mistral_name(name: str) -> str:
    """The name that Mistral gives to a weight of the Hugging Face model."""
    bare = name.removeprefix("model.")
    for pattern, replacement in RENAMED:
        renamed, count = re.subn(rf"^{pattern}", replacement, bare)
        if count:
            return renamed
    raise KeyError(name)


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows from the half-split rotary order of Hugging Face to Mistral's interleaved one."""
    rows, width = weight.shape
    return weight.view(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width)


def mistral_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All weights under Mistral's names, in bfloat16."""
    weights = {}
    for name, weight in state.items():
        if name.removeprefix("model.") == POSITION_WEIGHT:
            continue
        renamed = mistral_name(name)
        if found := ROTARY.fullmatch(renamed):
            heads = TEXT["heads"] if found.group(1) == "wq" else TEXT["key_heads"]
            weights[renamed] = interleaved(weight, heads).to(torch.bfloat16).contiguous()
        else:
            weights[renamed] = weight.to(torch.bfloat16).contiguous()
    return weights


def halved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The inverse of `interleaved`."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)


def read_weights(weights: dict[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """The weights that Hugging Face's model calls `names`, from those under Mistral's: the inverse of `mistral_weights`."""
    state = {}
    for name in names:
        if name.removeprefix("model.") == POSITION_WEIGHT:
            continue
        renamed = mistral_name(name)
        weight = weights[renamed].float()
        if found := ROTARY.fullmatch(renamed):
            weight = halved(weight, TEXT["heads"] if found.group(1) == "wq" else TEXT["key_heads"])
        state[name] = weight.contiguous()
    return state


def params() -> dict[str, object]:
    """What params.json says of the model."""
    encoder = {
        "audio_encoding_args": {
            "sampling_rate": 16_000,
            "frame_rate": 12.5,
            "num_mel_bins": MELS,
            "hop_length": 160,
            "window_size": 400,
            "chunk_length_s": 30.0,
        },
        "dim": AUDIO["width"],
        "n_layers": AUDIO["layers"],
        "head_dim": AUDIO["width"] // AUDIO["heads"],
        "hidden_dim": AUDIO["hidden"],
        "n_heads": AUDIO["heads"],
        "vocab_size": 51_866,
        "max_source_positions": POSITIONS,
    }
    return {
        "dim": TEXT["width"],
        "n_layers": TEXT["layers"],
        "head_dim": TEXT["head"],
        "hidden_dim": TEXT["hidden"],
        "n_heads": TEXT["heads"],
        "n_kv_heads": TEXT["key_heads"],
        "norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "vocab_size": VOCABULARY,
        "tied_embeddings": False,
        "max_position_embeddings": CONTEXT,
        "multimodal": {
            "whisper_model_args": {"encoder_args": encoder, "downsample_args": {"downsample_factor": 4}},
        },
    }


def write_model(state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write consolidated.safetensors and params.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "consolidated.safetensors").write_bytes(save(mistral_weights(state)))
    (folder / "params.json").write_text(json.dumps(params(), indent=2) + "\n", encoding="utf-8")


def read_model(folder: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """What `write_model` wrote into `folder`, for the model that has weights of these `names`."""
    return read_weights(load((folder / "consolidated.safetensors").read_bytes()), names)


if __name__ == "__main__":
    write_model(torch.load(sys.argv[1], map_location="cpu"), Path(sys.argv[2]))
