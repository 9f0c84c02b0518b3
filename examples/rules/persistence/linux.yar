// Ways to be started again after a restart or a new login, and to stay unseen meanwhile.

private rule text_start
{
    // No zero in the first 16 bytes: scripts and settings, not programs.
    condition:
        filesize > 16 and filesize < 1MB and for all i in (0..15) : (uint8(i) != 0)
}

rule persistence_cron_download : persistence cron
{
    meta:
        author = "Dragnet"
        description = "Cron line that downloads something and hands it to a shell"
        severity = "high"
    strings:
        $line = /(^|\n)[ \t]{0,4}(@(reboot|hourly|daily)|[0-9*\/,\-]{1,20}([ \t]{1,4}[0-9*\/,\-]{1,20}){4})[ \t]{1,8}[^\n]{0,80}(curl|wget)[ \t][^\n]{4,200}\|[^\n]{0,20}sh\b/
    condition:
        text_start and $line
}

rule persistence_cron_from_script : persistence cron
{
    meta:
        author = "Dragnet"
        description = "Script that adds a line to a crontab without an editor"
        severity = "medium"
    strings:
        $pipe = /\(?[ \t]{0,4}crontab[ \t]{1,4}-l[^\n]{0,60};[ \t]{0,4}echo[^\n]{4,200}\|[ \t]{0,4}crontab[ \t]{1,4}-/
        $echo = /echo[ \t][^\n]{4,200}(>>?[ \t]{0,4}\/etc\/cron(tab|\.d\/)|>>?[ \t]{0,4}\/var\/spool\/cron\/)/
    condition:
        text_start and any of them
}

rule persistence_unit_from_temporary_folder : persistence systemd
{
    meta:
        author = "Dragnet"
        description = "systemd unit that starts a program from a folder everyone may write to, or a shell with a command"
        severity = "high"
        reference = "https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html"
    strings:
        $service = "[Service]"
        $folder = /\nExecStart(Pre|Post)?=[\-@:+!]{0,3}(\/tmp|\/var\/tmp|\/dev\/shm)\//
        $hidden = /\nExecStart(Pre|Post)?=[\-@:+!]{0,3}\/[^\n ]{0,80}\/\.[a-zA-Z0-9]/
        $download = /\nExecStart(Pre|Post)?=[^\n]{0,60}sh[ \t]{1,4}-c[^\n]{0,80}(curl|wget|base64|\/dev\/tcp)/
    condition:
        text_start and $service and any of ($folder, $hidden, $download)
}

rule persistence_unit_shell : persistence systemd inventory
{
    meta:
        author = "Dragnet"
        description = "systemd unit that starts through a shell"
        severity = "info"
    strings:
        $service = "[Service]"
        $shell = /\nExec(Start|Stop|Reload)(Pre|Post)?=[\-@:+!]{0,3}(\/usr)?\/bin\/(ba|da)?sh[ \t\r\n]/
    condition:
        text_start and all of them
}

rule persistence_library_preload : persistence preload
{
    meta:
        author = "Dragnet"
        description = "Script or setting that writes the system's preload list or exports LD_PRELOAD from a temporary folder"
        severity = "high"
        reference = "https://man7.org/linux/man-pages/man8/ld.so.8.html"
    strings:
        $list = />>?[ \t]{0,4}\/etc\/ld\.so\.preload/
        $export = /LD_PRELOAD=["']?(\/tmp|\/var\/tmp|\/dev\/shm)\//
        $hidden = /LD_PRELOAD=["']?\/[^\n "':]{0,80}\/\.[a-zA-Z0-9]/
    condition:
        text_start and any of them
}

rule persistence_names_preload_list : persistence elf inventory
{
    meta:
        author = "Dragnet"
        description = "ELF program that names the system's preload list; the dynamic linker does, few others have a reason to"
        severity = "low"
    strings:
        $list = "/etc/ld.so.preload"
        $xored = "/etc/ld.so.preload" xor(0x01-0xff)
    condition:
        uint32be(0) == 0x7f454c46 and any of them
}

rule persistence_adds_ssh_key : persistence ssh
{
    meta:
        author = "Dragnet"
        description = "Script that appends a public key to authorized_keys"
        severity = "high"
    strings:
        $append = /echo[ \t]{1,4}["']?(ssh-(rsa|ed25519|dss)|ecdsa-sha2-nistp256)[ \t]{1,4}AAAA[^\n]{20,800}>>?[^\n]{1,80}authorized_keys/
        $immutable = /chattr[ \t]{1,4}\+[aiu]{1,3}[ \t][^\n]{0,80}authorized_keys/
    condition:
        text_start and any of them
}

rule persistence_login_file : persistence shell
{
    meta:
        author = "Dragnet"
        description = "Script that appends a download, a decoder or a background program to a shell's start file"
        severity = "medium"
    strings:
        $append = /echo[ \t][^\n]{0,160}(curl|wget|base64|nohup|\/dev\/tcp)[^\n]{0,160}>>[ \t]{0,4}[^\n ]{0,60}(\.bashrc|\.bash_profile|\.profile|\.zshrc|\/etc\/profile|\/etc\/rc\.local)/
    condition:
        text_start and $append
}

rule persistence_clears_traces : persistence evasion
{
    meta:
        author = "Dragnet"
        description = "Script that stops the shell's history, empties logs or switches protection off, two of them at least"
        severity = "medium"
    strings:
        $history_1 = "unset HISTFILE"
        $history_2 = /HISTFILE=\/dev\/null/
        $history_3 = "history -c" fullword
        $log_1 = /(>|truncate -s ?0|cat \/dev\/null ?>|rm -r?f) {0,2}\/var\/log\/(wtmp|btmp|lastlog|secure|auth\.log|messages|syslog)/
        $log_2 = /(>|rm -f) {0,2}(~|\$HOME|\/root)\/\.bash_history/
        $protection_1 = "setenforce 0"
        $protection_2 = /systemctl[ \t]{1,4}(stop|disable)[ \t]{1,4}(auditd|apparmor|firewalld|ufw)/
        $protection_3 = /iptables[ \t]{1,4}-F/
    condition:
        text_start and 2 of them
        and (any of ($history_*) or any of ($log_*))
}
