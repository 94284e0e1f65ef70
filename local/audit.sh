#!/bin/sh
# Checks what uv.lock pins for known vulnerabilities, by the advisories of osv.dev.
# Ends with 0: none known; 1: some, listed; 3: nothing was checked, no advisory source was reached.
set -u
cd "$(dirname "$0")/.."

.local/tools/bin/uv audit --frozen --preview-features audit-command "$@"
status=$?
# uv's 2 is "could not do it".
if [ "$status" -eq 2 ]; then
    echo "error: nothing was checked: the advisories (api.osv.dev) could not be read, see above" >&2
    exit 3
fi
exit "$status"
