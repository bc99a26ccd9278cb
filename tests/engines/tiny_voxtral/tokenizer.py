"""Write tekken.json, the tiny Voxtral's tokenizer.

Run with the engine environment's Python, which has mistral_common:

    python tokenizer.py FOLDER

The first text tokens of the vocabulary that mistral_common carries, and the special tokens of Voxtral at their own
ranks. The same mistral_common writes the same bytes; nothing is downloaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mistral_common

SOURCE = "tekken_240911.json"
TEXT_TOKENS = 3_996
SPECIAL_TOKENS = 100
VOCABULARY = TEXT_TOKENS + SPECIAL_TOKENS
NAMED = {
    0: "<unk>",
    1: "<s>",
    2: "</s>",
    3: "[INST]",
    4: "[/INST]",
    5: "[AVAILABLE_TOOLS]",
    6: "[/AVAILABLE_TOOLS]",
    7: "[TOOL_RESULTS]",
    8: "[/TOOL_RESULTS]",
    9: "[TOOL_CALLS]",
    10: "[IMG]",
    11: "<pad>",
    12: "[IMG_BREAK]",
    13: "[IMG_END]",
    14: "[PREFIX]",
    15: "[MIDDLE]",
    16: "[SUFFIX]",
    17: "[SYSTEM_PROMPT]",
    18: "[/SYSTEM_PROMPT]",
    19: "[TOOL_CONTENT]",
    24: "[AUDIO]",
    25: "[BEGIN_AUDIO]",
    34: "[TRANSCRIBE]",
}
AUDIO = {
    "sampling_rate": 16_000,
    "frame_rate": 12.5,
    "chunk_length_s": 30.0,
    "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
}


def tokenizer(source: dict[str, Any]) -> dict[str, Any]:
    """The tiny tokenizer, cut from a full one."""
    return {
        "config": {
            "pattern": source["config"]["pattern"],
            "num_vocab_tokens": TEXT_TOKENS,
            "default_vocab_size": VOCABULARY,
            "default_num_special_tokens": SPECIAL_TOKENS,
            "version": "v7",
        },
        "version": 1,
        "type": "Tekken",
        "vocab": source["vocab"][:TEXT_TOKENS],
        "special_tokens": [
            {"rank": rank, "token_str": NAMED.get(rank, f"<SPECIAL_{rank}>"), "is_control": True}
            for rank in range(SPECIAL_TOKENS)
        ],
        "audio": AUDIO,
    }


def write_tokenizer(folder: Path) -> Path:
    """Write tekken.json into `folder`; its path."""
    data = Path(mistral_common.__file__).parent / "data" / SOURCE
    file = folder / "tekken.json"
    file.write_text(json.dumps(tokenizer(json.loads(data.read_text(encoding="utf-8")))), encoding="utf-8")
    return file


if __name__ == "__main__":
    write_tokenizer(Path(sys.argv[1]))
