// Private keys and certificates that lie in files, whole or built into programs.
// Libraries name the header lines too, so every rule asks for some of the base64 body behind them.

rule private_key_pem : secret key
{
    meta:
        author = "Dragnet"
        description = "Private key in PEM form that no passphrase protects"
        severity = "high"
        reference = "https://www.rfc-editor.org/rfc/rfc7468"
    strings:
        $key = /-----BEGIN ((RSA|EC|DSA) )?PRIVATE KEY-----\r?\n[A-Za-z0-9+\/=]{24,80}\r?\n/
    condition:
        $key and uint32be(0) != 0x7f454c46
}

rule private_key_encrypted : secret key
{
    meta:
        author = "Dragnet"
        description = "Private key in PEM form behind a passphrase"
        severity = "low"
        reference = "https://www.rfc-editor.org/rfc/rfc7468"
    strings:
        $pkcs8 = /-----BEGIN ENCRYPTED PRIVATE KEY-----\r?\n[A-Za-z0-9+\/=]{24,80}\r?\n/
        $traditional = /-----BEGIN (RSA|EC|DSA) PRIVATE KEY-----\r?\nProc-Type: 4,ENCRYPTED/
    condition:
        any of them
}

rule private_key_openssh : secret key ssh
{
    meta:
        author = "Dragnet"
        description = "OpenSSH private key; the cipher's name at its start says whether a passphrase protects it"
        severity = "high"
        reference = "https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key"
    strings:
        // base64 of "openssh-key-v1", the format's magic.
        $key = /-----BEGIN OPENSSH PRIVATE KEY-----\r?\nb3BlbnNzaC1rZXktdjE[A-Za-z0-9+\/=]{20}/
    condition:
        $key
}

rule private_key_other_form : secret key
{
    meta:
        author = "Dragnet"
        description = "Private key of PuTTY or OpenPGP"
        severity = "medium"
    strings:
        $putty = /PuTTY-User-Key-File-[23]: (ssh|ecdsa)-[a-z0-9\-]{3,30}\r?\nEncryption: /
        $pgp = /-----BEGIN PGP PRIVATE KEY BLOCK-----\r?\n(Version: [^\n]{1,80}\n|Comment: [^\n]{1,80}\n)?\r?\n[A-Za-z0-9+\/=]{24}/
    condition:
        any of them
}

rule private_key_in_program : secret key elf
{
    meta:
        author = "Dragnet"
        description = "Private key built into an ELF program: everyone who has the program has the key"
        severity = "medium"
    strings:
        $key = /-----BEGIN ((RSA|EC|DSA) )?PRIVATE KEY-----\n[A-Za-z0-9+\/=]{24,80}\n/
    condition:
        uint32be(0) == 0x7f454c46 and $key
}

rule private_key_in_base64 : secret key
{
    meta:
        author = "Dragnet"
        description = "Private key whose PEM text was encoded by base64 once more, as in manifests and variables"
        severity = "high"
    strings:
        $key = "-----BEGIN PRIVATE KEY-----\nMI" base64
        $key_rsa = "-----BEGIN RSA PRIVATE KEY-----\nMI" base64
        $key_ec = "-----BEGIN EC PRIVATE KEY-----\nMH" base64
        $key_openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3B" base64
    condition:
        any of them
}

rule certificate_pem : certificate inventory
{
    meta:
        author = "Dragnet"
        description = "Certificate in PEM form"
        severity = "info"
    strings:
        $certificate = /-----BEGIN CERTIFICATE-----\r?\nMI[A-Za-z0-9+\/=]{30,80}\r?\n/
    condition:
        $certificate and uint32be(0) != 0x7f454c46
}

rule certificate_in_program : certificate elf inventory
{
    meta:
        author = "Dragnet"
        description = "Certificate built into an ELF program"
        severity = "info"
    strings:
        $pem = /-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+\/=]{30,80}\n/
    condition:
        uint32be(0) == 0x7f454c46 and $pem
}

rule certificate_bundle : certificate inventory
{
    meta:
        author = "Dragnet"
        description = "More than fifty certificates in one file: a store of trusted authorities"
        severity = "info"
    strings:
        $begin = "-----BEGIN CERTIFICATE-----"
        $end = "-----END CERTIFICATE-----"
    condition:
        #begin > 50 and #begin == #end
}
