// Access tokens and passwords in files. Prefixes and lengths are those their issuers document.

rule token_cloud_access_key : secret cloud
{
    meta:
        author = "Dragnet"
        description = "AWS access key id with a secret key of 40 characters within the next 300 bytes"
        severity = "high"
        reference = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"
    strings:
        $id = /\b(AKIA|ASIA)[A-Z2-7]{16}\b/
        $secret = /secret_?(access_?)?key['"]?[ \t]{0,4}[:=][ \t]{0,4}['"]?[A-Za-z0-9+\/]{40}\b/ nocase
        $example = "EXAMPLE"
    condition:
        $secret and for any i in (1..#id) : (
            $secret in (@id[i]..@id[i] + 300) and not $example in (@id[i]..@id[i] + 20)
        )
}

rule token_code_hosting : secret token
{
    meta:
        author = "Dragnet"
        description = "Token of GitHub or GitLab in its documented form"
        severity = "high"
        reference = "https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/"
    strings:
        $github = /\bgh[pousr]_[A-Za-z0-9]{36}\b/
        $github_fine = /\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b/
        $gitlab = /\bglpat-[A-Za-z0-9_\-]{20}\b/
    condition:
        any of them
}

rule token_service : secret token
{
    meta:
        author = "Dragnet"
        description = "Token of a chat, payment or package service, or an API key of Google"
        severity = "medium"
    strings:
        $slack = /\bxox[abpr]-[0-9]{10,13}-[0-9]{10,13}-[A-Za-z0-9\-]{24,40}\b/
        $stripe = /\b[rs]k_live_[A-Za-z0-9]{24,99}\b/
        $npm = /\bnpm_[A-Za-z0-9]{36}\b/
        $google = /\bAIza[A-Za-z0-9_\-]{35}\b/
    condition:
        any of them
}

rule token_service_account : secret cloud json
{
    meta:
        author = "Dragnet"
        description = "JSON key of a Google service account"
        severity = "high"
    strings:
        $type = /"type"\s{0,4}:\s{0,4}"service_account"/
        $key = /"private_key"\s{0,4}:\s{0,4}"-----BEGIN PRIVATE KEY-----\\n[A-Za-z0-9+\/=]{20}/
        $mail = ".iam.gserviceaccount.com"
    condition:
        filesize < 1MB and all of them
}

rule token_signed : secret token
{
    meta:
        author = "Dragnet"
        description = "JSON web token: a header that names its algorithm, a body and a signature"
        severity = "low"
        reference = "https://www.rfc-editor.org/rfc/rfc7519"
    strings:
        // base64url of {"alg" and {"typ": the two ways such a header begins.
        $token = /\beyJ(hbGci|0eXAi)[A-Za-z0-9_\-]{8,200}\.eyJ[A-Za-z0-9_\-]{16,2000}\.[A-Za-z0-9_\-]{32,700}/
    condition:
        $token
}

rule password_in_address : secret password
{
    meta:
        author = "Dragnet"
        description = "Address of a database or message broker with a user and a password inside"
        severity = "low"
    strings:
        $address = /(postgres(ql)?|mysql|mongodb(\+srv)?|amqps?|rediss?):\/\/[A-Za-z0-9_.\-]{1,40}:[^\s@:\/<>{}$%'"\[\]]{4,60}@[A-Za-z0-9.\-]{3,100}/
        $placeholder = /:\/\/[A-Za-z0-9_.\-]{1,40}:(pass(word|wd)?|secret|xxxx|\*{3,})@/ nocase
    condition:
        filesize < 8MB and #address > #placeholder
}
