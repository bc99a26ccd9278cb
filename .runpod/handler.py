"""Where RunPod's Hub looks for a handler: what the image runs anyway, `voxtral-serverless worker`."""  # noqa: INP001 — a script

from voxtral_serverless.cli import app

if __name__ == "__main__":
    app(["worker"])
