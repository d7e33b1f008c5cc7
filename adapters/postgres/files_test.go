package postgres

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestARenewedCertificateIsUsed by the next connection: nobody restarts a process each time that a certificate of some hours is renewed.
func TestARenewedCertificateIsUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	certify(t, file("crt"), file("key"))
	db, err := Open(Config{URL: fmt.Sprintf("postgres://nobody@127.0.0.1:1/none?sslmode=verify-full&sslrootcert=%s&sslcert=%s&sslkey=%s",
		file("crt"), file("crt"), file("key"))})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	renewed := certify(t, file("crt"), file("key"))
	next := db.pool.Config()
	if err := next.BeforeConnect(t.Context(), next.ConnConfig); err == nil {
		t.Fatal("nobody listens there")
	}
	if got := next.ConnConfig.TLSConfig.Certificates[0].Certificate[0]; !bytes.Equal(got, renewed) {
		t.Error("a connection is made with the certificate that was there at the start")
	}
	pgtest.Check(t, os.Remove(file("key"))) // as it is about to be replaced
	if err := next.BeforeConnect(t.Context(), next.ConnConfig); !problem.Is(err, problem.Unavailable) {
		t.Errorf("got %v", err)
	}
}

// certify writes a new certificate, which signs itself, and its key.
func certify(t *testing.T, file, keyFile string) (der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	pgtest.Check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	pgtest.Check(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	pgtest.Check(t, err)
	pgtest.Check(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	pgtest.Check(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return der
}
