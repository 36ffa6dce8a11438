#!/usr/bin/env bash
# What the tests of the page and of the panels need of the system: Debian's Chromium, and the libraries of Qt and OpenGL.
# Never fails: where they cannot be installed those tests are skipped, and say so.
set -u
packages=(libgl1 libegl1 libxrender1 libxcursor1 libxkbcommon0 libdbus-1-3 libfontconfig1)
command -v chromium >/dev/null || command -v google-chrome >/dev/null || packages+=(chromium)
missing=()
for package in "${packages[@]}"; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "Not installed (needs apt-get as root): ${missing[*]}; tests that need them are skipped."
  exit 0
fi
echo "Installing ${missing[*]} for the tests of the page and the panels"
export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 ||
  echo "Could not install ${missing[*]}; tests that need them are skipped."
exit 0
