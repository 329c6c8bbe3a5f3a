package momentotest

import (
	"fmt"
	"io"

	"github.com/momentohq/client-sdk-go/auth"
)

// credentials is a CredentialProvider for a plaintext server. The token is
// kept in a closure: printing a struct that holds credentials, by reflection
// too, shows no more than the address of a function.
type credentials struct {
	token     func() string
	endpoints auth.AllEndpoints
}

var _ auth.CredentialProvider = credentials{}

func newCredentials(addr, token string) credentials {
	e := auth.Endpoint{Endpoint: addr, InsecureConnection: true}
	return credentials{
		token:     func() string { return token },
		endpoints: auth.AllEndpoints{ControlEndpoint: e, CacheEndpoint: e, TokenEndpoint: e, StorageEndpoint: e},
	}
}

func (c credentials) GetAuthToken() string          { return c.token() }
func (c credentials) GetCacheTlsHostname() string   { return "" }
func (c credentials) GetControlEndpoint() string    { return c.endpoints.ControlEndpoint.Endpoint }
func (c credentials) IsControlEndpointSecure() bool { return secure(c.endpoints.ControlEndpoint) }
func (c credentials) GetCacheEndpoint() string      { return c.endpoints.CacheEndpoint.Endpoint }
func (c credentials) IsCacheEndpointSecure() bool   { return secure(c.endpoints.CacheEndpoint) }
func (c credentials) GetTokenEndpoint() string      { return c.endpoints.TokenEndpoint.Endpoint }
func (c credentials) IsTokenEndpointSecure() bool   { return secure(c.endpoints.TokenEndpoint) }
func (c credentials) GetStorageEndpoint() string    { return c.endpoints.StorageEndpoint.Endpoint }
func (c credentials) IsStorageEndpointSecure() bool { return secure(c.endpoints.StorageEndpoint) }

func secure(e auth.Endpoint) bool { return !e.InsecureConnection }

func (c credentials) WithEndpoints(e auth.AllEndpoints) (auth.CredentialProvider, error) {
	c.endpoints = e
	return c, nil
}

// String describes the credentials without the token.
func (c credentials) String() string {
	return fmt.Sprintf("momentotest.Credentials(%s)", c.endpoints.CacheEndpoint.Endpoint)
}

// GoString is String.
func (c credentials) GoString() string { return c.String() }

// Format prints String, whatever the verb.
func (c credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }
