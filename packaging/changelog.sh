#!/usr/bin/env bash
# changelog.sh -- debian/changelog of a build: `changelog.sh VERSION SECONDS-SINCE-1970`.  What changed is in git.
set -euo pipefail
cat <<END
pinroute ($1) unstable; urgency=medium

  * Built from the source tree as it is; what changed is in its history.

 -- The pinroute authors <maintainers@users.noreply.r-seed-995a15fa.example>  $(date -u -R -d "@$2")
END
