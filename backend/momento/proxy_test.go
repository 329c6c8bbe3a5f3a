package momento_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
)

// proxyChild is set in the process that TestForwardProxy starts.
const proxyChild = "MOMENTO_TEST_PROXY_CHILD"

// TestForwardProxy runs a process whose only way to the service is a forward
// proxy, which alone knows the service's name. The process has nothing but
// environment variables: a v2 key, MOMENTO_ENDPOINT, HTTPS_PROXY and a
// certificate. gRPC reads the proxy's address once in a process.
func TestForwardProxy(t *testing.T) {
	const endpoint = "cell.momento.invalid" // never resolved by anybody
	srv := newUnwatchedServer(t)
	certificate, file := newCertificate(t, "cache."+endpoint)
	service := newRelay(t, func(c net.Conn) (net.Conn, string, error) {
		return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}), srv.Addr(), nil
	})
	var mu sync.Mutex
	var asked []string
	proxy := newRelay(t, func(c net.Conn) (net.Conn, string, error) {
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil {
			return nil, "", err
		}
		mu.Lock()
		asked = append(asked, r.Method+" "+r.Host)
		mu.Unlock()
		_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		return c, service, err
	})
	enc := base64.RawURLEncoding.EncodeToString
	key := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc([]byte(`{"t":"g","id":"x"}`)) + "." + enc([]byte("signature"))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestForwardProxyChild$", "-test.count=1", "-test.v")
	child.Env = append(os.Environ(), proxyChild+"=1", "MOMENTO_API_KEY="+key, "MOMENTO_ENDPOINT="+endpoint,
		"HTTPS_PROXY=http://"+proxy, "NO_PROXY=", "no_proxy=", "https_proxy=", "SSL_CERT_FILE="+file, "SSL_CERT_DIR="+t.TempDir())
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "PASS: TestForwardProxyChild")
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, asked)
	for _, what := range asked {
		require.Equal(t, "CONNECT cache."+endpoint+":443", what)
	}
}

// TestForwardProxyChild is what that process does.
func TestForwardProxyChild(t *testing.T) {
	if os.Getenv(proxyChild) == "" {
		return // TestForwardProxy runs it
	}
	b, err := momento.New("cache", momento.WithProxyNames(), momento.WithSubscribeTimeout(patience/2), momento.WithPublishTimeout(patience/2))
	require.NoError(t, err)
	l := listen(t, b, "topic")
	require.NoError(t, b.Publish(t.Context(), "topic", text("x")))
	require.Equal(t, pubsub.KindMessage, l.next(t, pubsub.KindMessage).Kind)
	require.NoError(t, b.Close())
}

// newRelay accepts connections, which go where accept says, and returns its
// address.
func newRelay(t *testing.T, accept func(net.Conn) (net.Conn, string, error)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				from, target, err := accept(c)
				if err != nil {
					return
				}
				to, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				mu.Lock()
				open = append(open, c, to)
				mu.Unlock()
				wg.Go(func() {
					_, _ = io.Copy(to, from)
					to.Close()
				})
				_, _ = io.Copy(from, to)
				to.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// newCertificate returns a certificate for a name, and the file of who signed
// it: itself.
func newCertificate(t *testing.T, name string) (tls.Certificate, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
