"""Lines of vLLM 0.32: those of a processor as it wrote them, those of a GPU after the forms in its source."""

import pytest

from voxtral_serverless.engine.boot_log import BootLog

ON_A_PROCESSOR = """
(APIServer pid=22398) INFO 11-23 01:56:45 [base.py:280] Multi-modal warmup completed in 0.566s
(Worker pid=22443) INFO 11-23 01:56:57 [cpu_model_runner.py:68] Starting to load model /models/tiny-voxtral...
(Worker pid=22443) INFO 11-23 01:56:57 [base_loader.py:82] Initializing model took 0.074134 seconds
Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 95.04it/s]
(Worker pid=22443) INFO 11-23 01:56:57 [default_loader.py:501] Loading weights took 0.01 seconds
(EngineCore pid=22411) INFO 11-23 01:56:59 [core.py:402] init engine (profile, create kv cache, warmup model) took 1.30 s
INFO:     Application startup complete.
"""
ON_GPUS = """
(Worker_TP0 pid=7) INFO 11-23 02:00:00 [default_loader.py:501] Loading weights took 5.71 seconds
(Worker_TP1 pid=8) INFO 11-23 02:00:00 [default_loader.py:501] Loading weights took 6.02 seconds
(Worker_TP0 pid=7) INFO 11-23 02:00:00 [gpu_model_runner.py:5150] Model loading took 8.71 GiB memory and 6.250000 seconds
(Worker_TP0 pid=7) INFO 11-23 02:00:00 [monitor.py:60] torch.compile took 8.51 s in total
(Worker_TP0 pid=7) INFO 11-23 02:00:00 [kernel_warmup.py:190] JIT kernel warmup finished in 3.25s.
(Worker_TP0 pid=7) INFO 11-23 02:00:00 [mm.py:95] Encoder graph capturing finished in 99 secs, took 1.00 GiB (3 graphs)
(Worker_TP0 pid=7) INFO 11-23 02:00:00 [gpu_model_runner.py:6582] Graph capturing finished in 34 secs, took 0.55 GiB
(EngineCore pid=9) INFO 11-23 02:00:00 [core.py:393] init engine (profile, create kv cache, warmup model) took 61.20 s \
(compilation: 8.51 s)
"""


@pytest.mark.parametrize(
    ("lines", "phases"),
    [
        (ON_A_PROCESSOR, {"audio_warmed_up": 0.566, "weights_loaded": 0.01, "core_initialised": 1.3}),
        (
            ON_GPUS,
            {
                "weights_loaded": 6.02,
                "model_loaded": 6.25,
                "compiled": 8.51,
                "kernels_warmed_up": 3.25,
                "graphs_captured": 34.0,
                "core_initialised": 61.2,
            },
        ),
        ("", {}),
        ("Loading weights took ages\nLoading weights took 1.2.3 seconds\ninit engine took 1 s\n\x00\ufffd", {}),
    ],
)
def test_phases(lines: str, phases: dict[str, float]) -> None:
    log = BootLog()
    for line in lines.splitlines():
        log.hear(line)
    assert log.phases == phases
