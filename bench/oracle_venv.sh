#!/usr/bin/env bash
# Builds the independent readers that parity work compares with, apart from the project's own environment:
#   .venv-oracle   PyPI `nd2` 0.12.0 with its extras
#   .oracle-sdk    Nikon's Nd2ReadSdk shared libraries (x86-64 Linux), as an old wheel of `nd2` carries them;
#                  ND2SDK_LIBS=.oracle-sdk/nd2.libs
# Both are git-ignored. PYTHON names the interpreter (>= 3.11).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

"$PYTHON" -m venv .venv-oracle
.venv-oracle/bin/python -m pip install --quiet --upgrade pip
.venv-oracle/bin/python -m pip install --quiet \
  'nd2[legacy,ome-zarr,ome-zarr-tensorstore,remote,tiff]==0.12.0' 'dask[array]' xarray psutil s3fs aiohttp yaozarrs

mkdir -p .oracle-sdk
.venv-oracle/bin/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.10 \
  --implementation cp --abi cp310 --platform manylinux_2_24_x86_64 -d .oracle-sdk nd2==0.4.6
.venv-oracle/bin/python -m zipfile -e .oracle-sdk/nd2-0.4.6*.whl .oracle-sdk
# the libraries alone: the Python part of that wheel is not wanted
rm -rf .oracle-sdk/nd2 .oracle-sdk/nd2-0.4.6*

.venv-oracle/bin/python -c 'import nd2; print("nd2", nd2.__version__)'
ls .oracle-sdk/nd2.libs
