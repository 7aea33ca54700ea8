#!/bin/bash
# Whether Orthanc answers HTTP. Any answer counts, 401 among them: the check has no password.
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${ORTHANC_HTTP_PORT:-8042}"
printf 'GET /system HTTP/1.0\r\n\r\n' >&3
read -r -t 4 answer <&3
[[ $answer == HTTP/* ]]
