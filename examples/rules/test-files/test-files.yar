// Files that exist to test scanners. Use them to see that a finding travels the whole way.
// The strings stand here as hex or in part, so that no scanner takes this file for a test file.

import "hash"

rule test_eicar : test
{
    meta:
        author = "Dragnet"
        description = "The EICAR test file: harmless, and every scanner is expected to report it"
        severity = "high"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"
    strings:
        $eicar = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24
                   45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55 53 2D 54 45 53
                   54 2D 46 49 4C 45 21 24 48 2B 48 2A }
    condition:
        // The file may be followed by white space, up to 128 bytes in all.
        $eicar at 0 and filesize <= 128
}

rule test_eicar_exact : test
{
    meta:
        author = "Dragnet"
        description = "The EICAR test file of exactly 68 bytes, by its digest"
        severity = "info"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"
    condition:
        filesize == 68 and hash.sha256(0, filesize) == "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
}

rule test_eicar_inside : test
{
    meta:
        author = "Dragnet"
        description = "Larger file that quotes the EICAR string, as documentation and scanners' own tests do"
        severity = "low"
    strings:
        $plain = { 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 }
        $base64 = "PZX54(P^)7CC)7}$EICAR" base64
        $wide = "PZX54(P^)7CC)7}$EICAR" wide
        $xored = "PZX54(P^)7CC)7}$EICAR" xor(0x01-0xff)
    condition:
        any of them and not test_eicar
}

rule test_junk_mail : test mail
{
    meta:
        author = "Dragnet"
        description = "GTUBE, the line that every filter for junk mail is expected to refuse"
        severity = "info"
        reference = "https://spamassassin.apache.org/gtube/"
    strings:
        $gtube = "*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*"
    condition:
        $gtube
}

rule test_dragnet_marker : test
{
    meta:
        author = "Dragnet"
        description = "Marker for Dragnet's own tests: the line followed by a number of one to twelve digits"
        severity = "info"
    strings:
        $marker = /DRAGNET-TEST-MARKER-[0-9]{1,12}\b/
    condition:
        #marker == 1
}
