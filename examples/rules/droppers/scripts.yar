// Scripts that fetch or decode a second stage and run it.

private rule script_file
{
    condition:
        uint16be(0) == 0x2321 or extension matches /^\.(sh|bash|py|pl|rb|ps1|bat|cmd|vbs|js|hta)$/
}

rule script_curl_pipe_shell : dropper shell
{
    meta:
        author = "Dragnet"
        description = "Text that pipes a download straight into a shell: common in installation notes, and in droppers"
        severity = "info"
    strings:
        $curl = /curl[ \t][^\n|;&]{4,160}\|[ \t]{0,4}(sudo[ \t]{1,4}(-E[ \t]{1,4})?)?(\/bin\/|\/usr\/bin\/env[ \t])?(ba|da|z|k)?sh\b/
        $wget = /wget[ \t][^\n|;&]{0,120}-[a-zA-Z]{0,4}O[ \t]{0,2}-[^\n|;&]{0,120}\|[ \t]{0,4}(sudo[ \t]{1,4})?(\/bin\/)?(ba|da|z|k)?sh\b/
        $substitution = /(ba|z|k)?sh[ \t]{1,4}(-c[ \t]{1,4})?["']?(<\(|\$\()(curl|wget)[ \t][^\n)]{4,160}\)/
    condition:
        filesize < 4MB and any of them
}

rule script_curl_pipe_shell_quiet : dropper shell
{
    meta:
        author = "Dragnet"
        description = "Download piped into a shell from a bare IP address or with all output thrown away"
        severity = "high"
    strings:
        $address = /(curl|wget)[ \t][^\n|;&]{0,80}https?:\/\/\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}[:\/][^\n|;&]{0,120}\|[ \t]{0,4}(sudo[ \t]{1,4})?(ba|da)?sh\b/
        $silent = /(curl|wget)[ \t][^\n|;&]{4,160}\|[ \t]{0,4}(ba|da)?sh[^\n|;]{0,40}>[ \t]{0,4}\/dev\/null[ \t]{1,4}2>&1[ \t]{0,4}&/
    condition:
        filesize < 4MB and any of them
}

rule script_base64_pipe_shell : dropper shell
{
    meta:
        author = "Dragnet"
        description = "Text that decodes base64 straight into an interpreter"
        severity = "high"
    strings:
        $pipe = /base64[ \t]{1,4}(-d|-D|-di|--decode)[^\n|;&]{0,60}\|[ \t]{0,4}(sudo[ \t]{1,4})?((ba|da|z)?sh|python[23]?|perl)\b/
        $openssl = /openssl[ \t]{1,4}(enc[ \t]{1,4}-)?base64[ \t]{1,4}-d[^\n|;&]{0,60}\|[ \t]{0,4}(ba|da)?sh\b/
    condition:
        filesize < 4MB and any of them
}

rule script_python_runs_encoded : dropper python
{
    meta:
        author = "Dragnet"
        description = "Python that executes what it just decoded, decompressed or unmarshalled"
        severity = "high"
    strings:
        $decoded = /\b(exec|eval)\([ \t]{0,4}(compile\([ \t]{0,4})?(base64\.b(64|32|85)decode|zlib\.decompress|bz2\.decompress|lzma\.decompress|marshal\.loads|codecs\.decode|bytes\.fromhex|__import__\([ \t]{0,4}['"](base64|zlib|marshal|codecs)['"])/
        $fetched = /\bexec\([ \t]{0,4}(urllib[a-z0-9.]{0,12}\.urlopen|requests\.get|urlopen)\(/
    condition:
        filesize < 4MB and any of them
}

rule script_python_runs_long_literal : dropper python
{
    meta:
        author = "Dragnet"
        description = "Python file with a base64 literal of 600 characters or more and a call to exec"
        severity = "medium"
    strings:
        $literal = /b64decode\([ \t]{0,4}b?["'][A-Za-z0-9+\/=]{600,900}/
        $run = /\bexec\(/
    condition:
        filesize < 8MB and $run and $literal and !literal[1] > 600
}

rule script_python_starts_shell : python inventory
{
    meta:
        author = "Dragnet"
        description = "Python source that starts a command through a shell"
        severity = "info"
    strings:
        $shell = /\b(Popen|call|run|check_call|check_output)\([^\n]{1,200}shell[ \t]{0,2}=[ \t]{0,2}True\b/
        $system = /\bos\.(system|popen)\(/
    condition:
        extension == ".py" and filesize < 1MB and any of them
}

rule script_python_loads_objects : python inventory
{
    meta:
        author = "Dragnet"
        description = "Python source that loads pickled or marshalled objects, which can run code of their own"
        severity = "info"
        reference = "https://docs.python.org/3/library/pickle.html"
    strings:
        $load = /\b(c?[Pp]ickle|marshal|dill|shelve)\.(loads?|open|Unpickler)\(/
    condition:
        extension == ".py" and filesize < 1MB and $load
}

rule script_download_mark_run : dropper shell
{
    meta:
        author = "Dragnet"
        description = "Script that downloads into a temporary folder, marks the file executable and starts it, within 400 bytes"
        severity = "medium"
    strings:
        $fetch = /(wget|curl|tftp|ftpget)[ \t][^\n]{0,200}(\/tmp|\/var\/tmp|\/dev\/shm|\/var\/run)\//
        $mark = /chmod[ \t]{1,4}(\+x|[0-7]?7[0-7]{2}|[ugoa]+\+x)[ \t]/
        $start = /(^|\n|;|&&)[ \t]{0,4}((nohup|setsid)[ \t]{1,4})?(\.\/|\/tmp\/|\/var\/tmp\/|\/dev\/shm\/)[A-Za-z0-9_.\-]{1,40}/
    condition:
        script_file and filesize < 1MB
        and for any i in (1..#fetch) : ($mark in (@fetch[i]..@fetch[i] + 400) and $start in (@fetch[i]..@fetch[i] + 400))
}

rule script_tries_many_machines : dropper shell botnet
{
    meta:
        author = "Dragnet"
        description = "Script that fetches the same program for at least four processor types, as worms for routers do"
        severity = "high"
    strings:
        $fetch = /(wget|curl|tftp)[ \t][^\n]{4,160}/
        $machine_1 = /[.\/_\-](mips|mpsl|mipsel)\b/
        $machine_2 = /[.\/_\-]arm[4-7]?l?\b/
        $machine_3 = /[.\/_\-](ppc|powerpc)\b/
        $machine_4 = /[.\/_\-](sh4|spc|sparc|m68k|arc)\b/
        $machine_5 = /[.\/_\-](x86_64|x86|i[3-6]86)\b/
    condition:
        filesize < 64KB and #fetch >= 4 and 4 of ($machine_*) and for any i in (1..#fetch) : (!fetch[i] < 160)
        and (uint16be(0) == 0x2321 or @fetch[1] < 512)
}

rule script_powershell_encoded : dropper powershell windows
{
    meta:
        author = "Dragnet"
        description = "PowerShell started with an encoded command and a hidden window, or one that runs a download"
        severity = "high"
    strings:
        $encoded = /powershell(\.exe)?[^\n]{0,120}[ \t]-(e|en|enc|encodedcommand)[ \t]{1,4}["']?[A-Za-z0-9+\/=]{40}/ nocase ascii wide
        $download = /(iex|invoke-expression)[ \t]{0,4}\(?[ \t]{0,4}\(?(new-object[ \t]{1,4}(system\.)?net\.webclient|invoke-webrequest|iwr)/ nocase ascii wide
        // UTF-16 base64 of the phrase, as -EncodedCommand takes it.
        $inside = "Net.WebClient" base64wide
        $inside_utf16 = "Net.WebClient" wide base64
    condition:
        filesize < 8MB and any of them and not extension matches /^\.(md|rst|html?)$/
}

rule script_windows_own_tools : dropper windows
{
    meta:
        author = "Dragnet"
        description = "Script that downloads or runs code through tools every Windows has"
        severity = "medium"
    strings:
        $certutil = /certutil(\.exe)?[ \t][^\n]{0,60}-(urlcache|decode)[ \t]/ nocase ascii wide
        $mshta = /mshta(\.exe)?[ \t]{1,4}["']?(https?|javascript|vbscript):/ nocase ascii wide
        $regsvr = /regsvr32(\.exe)?[ \t][^\n]{0,60}\/i:https?:/ nocase ascii wide
        $bits = /bitsadmin(\.exe)?[ \t][^\n]{0,60}\/transfer[ \t]/ nocase ascii wide
    condition:
        filesize < 4MB and any of them
}
