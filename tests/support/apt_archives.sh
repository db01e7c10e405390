# Functions that find the archive of this machine's distribution in its apt sources. Source this file.
# shellcheck shell=bash

readonly APT_SOURCES_DIR=${APT_SOURCES_DIR:-/etc/apt}

# Prints "rank|address|keyring" for every apt source that may be the archive of the distribution. It reads both
# formats of sources. Other archives can look similar, so the caller tries the candidates in order.
archive_candidates() {
    local codename files=()
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    shopt -s nullglob
    files=("$APT_SOURCES_DIR"/sources.list "$APT_SOURCES_DIR"/sources.list.d/*.{list,sources})
    shopt -u nullglob
    [[ -f ${files[0]} ]] || files=("${files[@]:1}")
    ((${#files[@]})) || return 0
    awk -v codename="$codename" '
        function consider(address, suite, components, keyring,    named) {
            if (suite !~ /^[a-z]+$/ || (" " components " ") !~ / main /) return
            named = address ~ /\/(debian|ubuntu|ubuntu-ports)\/?$/
            if (named && suite == codename) print 1 "|" address "|" keyring
            else if (named) print 2 "|" address "|" keyring
            else if (suite == codename) print 3 "|" address "|" keyring
        }
        function end_stanza(    i, j, addresses, suites, address_count, suite_count, keyring) {
            if ((" " field["types"] " ") ~ / deb / && field["enabled"] !~ /^(no|false|off|0)$/) {
                keyring = field["signed-by"] ~ /^\// ? field["signed-by"] : ""
                address_count = split(field["uris"], addresses, " ")
                suite_count = split(field["suites"], suites, " ")
                for (i = 1; i <= address_count; i++)
                    for (j = 1; j <= suite_count; j++)
                        consider(addresses[i], suites[j], field["components"], keyring)
            }
            split("", field)
        }
        function one_line(    i, keyring, components) {
            keyring = ""
            if (match($0, /\[[^]]*\]/)) {
                keyring = substr($0, RSTART + 1, RLENGTH - 2)
                $0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
                if (!sub(/.*signed-by=/, "", keyring) || keyring !~ /^\//) keyring = ""
                sub(/[ \t].*/, "", keyring)
            }
            components = ""
            for (i = 4; i <= NF; i++) components = components " " $i
            consider($2, $3, components, keyring)
        }
        { sub(/\r$/, "") }
        FNR == 1 { end_stanza() }
        /^[ \t]*#/ { next }
        FILENAME ~ /\.list$/ { sub(/#.*/, ""); if ($1 == "deb") one_line(); next }
        /^[ \t]*$/ { end_stanza(); next }
        /^[ \t]/ { gsub(/^[ \t]+|[ \t]+$/, ""); field[name] = field[name] " " $0; next }
        {
            name = tolower(substr($0, 1, index($0, ":") - 1))
            value = substr($0, index($0, ":") + 1)
            gsub(/^[ \t]+|[ \t]+$/, "", value)
            gsub(/[ \t]+/, " ", value)
            field[name] = value
        }
        END { end_stanza() }
    ' "${files[@]}" | sort -u -t '|' -k 1,1n -k 2
}

# Prints debian or ubuntu, depending on the archive's address or else on /etc/os-release.
family_of() {
    local likeness
    # shellcheck source=/dev/null
    likeness=$(. /etc/os-release && printf '%s' "$ID ${ID_LIKE:-}")
    case ${1%/} in
        */debian) echo debian ;;
        */ubuntu | */ubuntu-ports) echo ubuntu ;;
        *) if [[ " $likeness " == *" ubuntu "* ]]; then echo ubuntu; else echo debian; fi ;;
    esac
}
