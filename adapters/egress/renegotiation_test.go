package egress

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// A receiver that asks for a client certificate for some of its paths alone, and would do without one, asks by a second handshake on
// the connection. crypto/tls has no server that does, so it is openssl's.
func TestAReceiverMayHandshakeASecondTime(t *testing.T) {
	binary, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	cert := certificate(t, func(*x509.Certificate) {})
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "server.pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), binary, "s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-state", "-cert", file)
	typed, said := pipes(t, server)
	until(said, "ACCEPT ")
	address, err := said.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		until(said, `{"a":1}`)
		_, _ = io.WriteString(typed, "R\n")
		until(said, "SSLv3/TLS write finished") // of the second handshake
		_, _ = io.WriteString(typed, "HTTP/1.1 204 No Content\r\n\r\n")
	}()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	client, _ := newClient(t, Config{RootCAs: roots})
	wantKind(t, send(t, client, "https://"+strings.TrimSpace(address)), delivery.KindSucceeded)
	_ = server.Cancel()
	<-answered
}

func pipes(t *testing.T, server *exec.Cmd) (io.Writer, *bufio.Reader) {
	t.Helper()
	typed, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, writer := io.Pipe()
	server.Stdout, server.Stderr = writer, writer
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Cancel(); _ = said.Close(); _ = server.Wait() })
	return typed, bufio.NewReader(said)
}

// until reads to the end of the text.
func until(said *bufio.Reader, text string) {
	var read []byte
	for !bytes.HasSuffix(read, []byte(text)) {
		b, err := said.ReadByte()
		if err != nil {
			return
		}
		read = append(read, b)
	}
}
