"""`python -m voxtral_serverless` is the command `voxtral-serverless`."""

from voxtral_serverless.cli import main

if __name__ == "__main__":
    main()
