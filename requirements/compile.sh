#!/usr/bin/env bash
# Write each requirement file from its .in file: all packages, in the versions that are already there, with
# the hashes of all their files. `make requirements` runs this. To update a package, change its pin first, or
# pass an option to uv: make requirements ARGS='--upgrade-package jinja2'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$1
shift
for file in requirements/{installer,run,test,lint,checkov,anchors,fuzz,mutants,recogniser,converter} \
    web_app/requirements lambda_functions/{annotation,thumbnail}/requirements; do
    # Without the address of an index: uv reads it from its own variables.
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command "make requirements" --output-file "$file.txt" "$@" "$file.in"
done
