package momento

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/clean"
)

// The environment variables that hold the default credentials.
const (
	envKey      = "MOMENTO_API_KEY"
	envEndpoint = "MOMENTO_ENDPOINT"
)

type credentialsFunc func(context.Context) (auth.CredentialProvider, error)

// constant returns a credentialsFunc for credentials that never change.
func constant(p auth.CredentialProvider) credentialsFunc {
	return func(context.Context) (auth.CredentialProvider, error) { return p, nil }
}

// fromEnvironment makes credentials from MOMENTO_API_KEY and, for a v2 key,
// which does not contain its endpoint, MOMENTO_ENDPOINT. Its errors say what
// to do and contain nothing of the key.
func fromEnvironment() (auth.CredentialProvider, error) {
	key := strings.TrimSpace(os.Getenv(envKey))
	endpoint := strings.TrimSpace(os.Getenv(envEndpoint))
	if key == "" {
		return nil, invalid("no credentials: set %s or use WithCredentials", envKey)
	}
	// The SDK alone knows how to tell the kinds of keys apart, so ask it: only
	// a v2 key is accepted here, whatever the endpoint.
	const anyEndpoint = "endpoint.invalid"
	if _, err := auth.FromApiKeyV2(auth.ApiKeyV2Props{ApiKey: key, Endpoint: anyEndpoint}); err == nil {
		switch {
		case endpoint == "":
			return nil, invalid("%s is a v2 key, which needs its endpoint: set %s, such as cell-us-east-1-1.prod.a.momentohq.com", envKey, envEndpoint)
		case strings.ContainsAny(endpoint, "/:@ \t\r\n"):
			return nil, invalid("%s must be a host name without scheme, port or path", envEndpoint)
		}
		return auth.FromApiKeyV2(auth.ApiKeyV2Props{ApiKey: key, Endpoint: endpoint})
	}
	// FromDisposableToken takes whatever else there is: v1 keys and tokens.
	p, err := auth.FromDisposableToken(key)
	if err != nil {
		return nil, invalid("%s is malformed: it is neither a Momento API key nor a token", envKey)
	}
	if err := checkCredentials(p); err != nil {
		return nil, invalid("%s: %v", envKey, err)
	}
	return p, nil
}

// checkCredentials rejects credentials with which no call can succeed. The SDK
// accepts them and fails obscurely later.
func checkCredentials(p auth.CredentialProvider) error {
	if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("the credentials are nil")
	}
	for _, c := range []byte(p.GetAuthToken()) {
		if c < ' ' || c > '~' {
			return errors.New("the key contains characters other than printable ASCII")
		}
	}
	endpoint := p.GetCacheEndpoint()
	if strings.Contains(endpoint, "://") {
		return nil // a gRPC target with a scheme of its own
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || strings.ContainsAny(host, "<>/@ \t\r\n") {
		return fmt.Errorf("the credentials name no usable endpoint (host:port): %q", clean.Cut(endpoint, 128))
	}
	return nil
}

// checkCredentials checks credentials that a function returned.
func (o *options) checkCredentials(p auth.CredentialProvider) error {
	if err := checkCredentials(p); err != nil {
		return err
	}
	return o.checkSecure(p)
}

// checkSecure refuses credentials that have the key travel in plain text, unless
// to this machine or to a host that was asked for by name.
func (o *options) checkSecure(p auth.CredentialProvider) error {
	if p.IsCacheEndpointSecure() {
		return nil
	}
	host := hostOf(p.GetCacheEndpoint())
	if isLoopback(host) || slices.Contains(o.insecureHosts, host) {
		return nil
	}
	return fmt.Errorf("the credentials say that the connection to %q is not to be secured by TLS, so that the key would travel in plain text: "+
		"correct them, or permit it with WithInsecureHost(%q)", clean.Cut(host, 128), clean.Cut(host, 128))
}

// hostOf returns the host of a gRPC target: host:port, perhaps behind a scheme.
func hostOf(endpoint string) string {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	switch {
	case !ok && strings.HasPrefix(endpoint, "unix:"), scheme == "unix", scheme == "unix-abstract":
		return "localhost"
	case ok:
		endpoint = rest[strings.LastIndex(rest, "/")+1:] // behind the authority
	}
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return endpoint
	}
	return host
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// unresolved is a set of credentials whose endpoint gRPC does not resolve.
type unresolved struct{ auth.CredentialProvider }

func (p unresolved) GetCacheEndpoint() string {
	endpoint := p.CredentialProvider.GetCacheEndpoint()
	if strings.Contains(endpoint, "://") {
		return endpoint
	}
	return "passthrough:///" + endpoint
}

// invalid returns an error about an argument or option of New.
func invalid(format string, args ...any) error {
	return fmt.Errorf("momento: %w: %s", pubsub.ErrInvalidArgument, fmt.Sprintf(format, args...))
}
