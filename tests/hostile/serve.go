package hostile

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Host is where the receivers are, and any name under it is too.
const Host = "hostile.localhost"

// envServe makes a test's binary serve, and nothing else.
const envServe = "HOSTILE_RECEIVERS"

// Running is what the other process serves.
type Running struct {
	// Ports are those of all kinds, in their order.
	Ports []int
	// Roots is the authority of their certificates, in PEM.
	Roots []byte
	// PID is the process.
	PID int
}

// URL is one that leads to the kind; each n is another host.
func (r Running) URL(kind, n int) string {
	scheme := "http"
	if k := Kinds()[kind]; k.Secure != Plain || k.Frames != nil {
		scheme = "https"
	}
	return fmt.Sprintf("%s://n%d.%s:%d/%d", scheme, n, Host, r.Ports[kind], n)
}

// ServeIfAsked is for the beginning of TestMain: in the process that Start has started, it does not return.
func ServeIfAsked() {
	if os.Getenv(envServe) == "" {
		return
	}
	if err := serveAll(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// Start serves all kinds from another process of this test's binary, until stop is called or this process ends.
func Start() (running Running, stop func(), err error) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), envServe+"=1")
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := command.StdoutPipe()
	if err != nil {
		return Running{}, nil, err
	}
	if err := command.Start(); err != nil {
		return Running{}, nil, fmt.Errorf("start the receivers: %w", err)
	}
	stop = sync.OnceFunc(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &running)
	}
	if err != nil {
		stop()
		return Running{}, nil, fmt.Errorf("the receivers do not serve: %w", err)
	}
	running.PID = command.Process.Pid
	return running, stop, nil
}

func serveAll(out io.Writer) error {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	running := Running{Roots: authority.pem()}
	for _, kind := range Kinds() {
		listener, err := listen(kind, authority)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.Name, err)
		}
		running.Ports = append(running.Ports, listener.Addr().(*net.TCPAddr).Port)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go kind.serve(conn)
			}
		}()
	}
	return json.NewEncoder(out).Encode(running)
}

// listen is without TLS for those that serve bare connections.
func listen(kind Kind, a *authority) (net.Listener, error) {
	if kind.Raw != nil || kind.Secure == Plain && kind.Frames == nil {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	names := []string{Host, "*." + Host}
	if kind.Secure == LargeTLS {
		for i := range 2000 {
			names = append(names, fmt.Sprintf("host-%d.example.com", i))
		}
	}
	cert, err := a.sign(names)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	if kind.Frames != nil {
		config.NextProtos = []string{"h2"}
	}
	return tls.Listen("tcp", "127.0.0.1:0", config)
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(1, "hostile authority")
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) sign(names []string) (tls.Certificate, error) {
	template := certificate(2, "hostile receiver")
	template.DNSNames = names
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}, err
}

func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true,
	}
}
