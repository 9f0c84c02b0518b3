// PHP pages that run what a visitor sends them.
// The global rule keeps every other rule of this file away from archives and logs that merely quote PHP.

global private rule php_page_size
{
    meta:
        author = "Dragnet"
        description = "Web shells are written by hand or generated small; 2 MB leaves room for padded ones"
    condition:
        filesize < 2MB
}

private rule php_page
{
    strings:
        $tag = /<\?(php|=)/ nocase
    condition:
        $tag
}

rule php_runs_request : webshell php
{
    meta:
        author = "Dragnet"
        description = "PHP that hands a request parameter straight to a shell or to eval"
        severity = "high"
    strings:
        $direct = /(eval|assert|system|passthru|shell_exec|popen|proc_open|exec)[ \t]{0,4}\([ \t]{0,4}@?\$_(GET|POST|REQUEST|COOKIE|SERVER)\b/ nocase
        $backtick = /`[^`\n]{0,40}\$_(GET|POST|REQUEST|COOKIE)\b/
        $variable_function = /\$_(GET|POST|REQUEST|COOKIE)\[[^\]\n]{1,30}\][ \t]{0,4}\([ \t]{0,4}@?\$_(GET|POST|REQUEST|COOKIE)/
    condition:
        php_page and any of them
}

rule php_unpacks_and_runs : webshell php obfuscation
{
    meta:
        author = "Dragnet"
        description = "PHP that decodes text in one or more layers and evaluates the result"
        severity = "high"
    strings:
        $layers = /(eval|assert)[ \t]{0,4}\([ \t]{0,4}@?(gzinflate|gzuncompress|gzdecode|str_rot13|base64_decode|strrev|convert_uudecode|hex2bin)[ \t]{0,4}\(/ nocase
        $variable = /\$[a-z_0-9]{1,20}[ \t]{0,4}=[ \t]{0,4}(gzinflate|str_rot13|strrev)[ \t]{0,4}\([ \t]{0,4}(base64_decode|str_rot13|strrev)/ nocase
        $run = /eval[ \t]{0,4}\([ \t]{0,4}\$/ nocase
    condition:
        php_page and ($layers or ($variable and $run))
}

rule php_hidden_names : webshell php obfuscation
{
    meta:
        author = "Dragnet"
        description = "PHP that spells the names of dangerous functions in base64, hex escapes or pieces"
        severity = "high"
    strings:
        $base64_1 = "shell_exec" base64
        $base64_2 = "passthru" base64
        $base64_3 = "base64_decode" base64
        $hex = { 5C 78 37 33 5C 78 37 39 5C 78 37 33 5C 78 37 34 5C 78 36 35 5C 78 36 (44 | 64) }
        $pieces = /['"]sy?['"][ \t]{0,3}\.[ \t]{0,3}['"]y?ste?['"][ \t]{0,3}\.[ \t]{0,3}['"]/
    condition:
        php_page and any of them
}

rule php_character_arithmetic : webshell php obfuscation
{
    meta:
        author = "Dragnet"
        description = "PHP that builds its words from more than thirty chr() calls and then runs them"
        severity = "medium"
    strings:
        $character = /chr\([ \t]{0,3}(0x[0-9a-f]{1,2}|\d{1,3})[ \t]{0,3}\)[ \t]{0,3}\./ nocase
        $run = /(eval|assert|create_function|call_user_func)[ \t]{0,4}\(/ nocase
    condition:
        php_page and #character > 30 and $run
}

rule php_console_page : webshell php
{
    meta:
        author = "Dragnet"
        description = "PHP page with the parts of a file manager and a command line in one"
        severity = "high"
    strings:
        $upload = "move_uploaded_file" nocase
        $name = "php_uname" nocase
        $user = "posix_getpwuid" nocase
        $disabled = "disable_functions" nocase
        $shell = /(shell_exec|passthru|proc_open|popen|system)[ \t]{0,4}\([ \t]{0,4}\$/ nocase
        $directory = /(opendir|scandir)[ \t]{0,4}\([ \t]{0,4}\$/ nocase
        $mode = "fileperms" nocase
    condition:
        php_page and $shell and 4 of ($upload, $name, $user, $disabled, $directory, $mode)
}

rule php_inside_image : webshell php
{
    meta:
        author = "Dragnet"
        description = "Image by its first bytes or its name that holds PHP with a call worth hiding"
        severity = "high"
    strings:
        $tag = "<?php" nocase
        $call = /(eval|assert|system|passthru|shell_exec|base64_decode)[ \t]{0,4}\(/ nocase
    condition:
        $tag and $call and @tag[1] < 1MB
        and (uint32be(0) == 0x47494638 or uint32be(0) == 0x89504e47 or uint16be(0) == 0xffd8
             or extension matches /^\.(gif|png|jpe?g|ico|bmp|webp)$/)
}
