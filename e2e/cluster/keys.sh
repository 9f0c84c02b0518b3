# Sourced: keys and certificates below $keys, for one cluster and gone with it.

make_authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$keys/ca.key" -out "$keys/ca.crt" -subj /CN=dragnet-test-ca -days 3650 2>/dev/null
    openssl genrsa -out "$keys/service-account.key" 2048 2>/dev/null
}

certificate() { # NAME SUBJECT EXTENSION...
    local file=$keys/$1 subject=$2
    shift 2
    openssl req -new -newkey rsa:2048 -nodes -keyout "$file.key" -out "$file.csr" -subj "$subject" 2>/dev/null
    openssl x509 -req -in "$file.csr" -CA "$keys/ca.crt" -CAkey "$keys/ca.key" -CAcreateserial -days 3650 \
        -extfile <(printf '%s\n' "$@") -out "$file.crt" 2>/dev/null
}

server_certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
    certificate "$1" "$2" extendedKeyUsage=serverAuth "subjectAltName=$3"
}

# client NAME SUBJECT SERVER: a certificate, and a kubeconfig that holds it whole, so that the file may be copied anywhere.
client() {
    local name=$1 server=$3
    certificate "$name" "$2" extendedKeyUsage=clientAuth
    cat >"$keys/$name.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: dragnet-test
clusters:
- name: dragnet-test
  cluster: {server: "$server", certificate-authority-data: $(base64 -w0 "$keys/ca.crt")}
users:
- name: $name
  user: {client-certificate-data: $(base64 -w0 "$keys/$name.crt"), client-key-data: $(base64 -w0 "$keys/$name.key")}
contexts:
- name: dragnet-test
  context: {cluster: dragnet-test, user: $name}
YAML
}
