package hosts

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAllow(t *testing.T) {
	names := Names{"Quotes.Example.com"}
	for host, want := range map[string]bool{
		"localhost":                  true,
		"localhost:8080":             true,
		"LOCALHOST.:8080":            true,
		"a.localhost":                true,
		"127.0.0.1":                  true,
		"127.0.0.1:8080":             true,
		"[::1]":                      true,
		"[::1]:8080":                 true,
		"[fe80::1%eth0]:8080":        true,
		"10.1.2.3:6060":              true,
		"":                           true,
		"quotes.example.com":         true,
		"quotes.example.com:443":     true,
		"quotes.example.com.":        true,
		"evil.example":               false,
		"evil.example:8080":          false,
		"notlocalhost":               false,
		"localhost.evil.example":     false,
		"127.0.0.1.evil.example":     false,
		"a.quotes.example.com":       false,
		"quotes.example.com.evil":    false,
		"127.0.0.1@evil.example":     false,
		"evil.example/localhost":     false,
		"evil.example:80:localhost":  false,
		"[::1].evil.example":         false,
		"localhost\x00.evil.example": false,
	} {
		require.Equal(t, want, names.Allow(host), "%q", host)
	}
	require.False(t, Names(nil).Allow("quotes.example.com"))
}

func TestParse(t *testing.T) {
	names, err := Parse(" a.example, b.example ,,")
	require.NoError(t, err)
	require.Equal(t, Names{"a.example", "b.example"}, names)
	for _, wrong := range []string{"https://a.example", "*", "*.example", "a.example:80", "a b"} {
		_, err := Parse(wrong)
		require.ErrorContains(t, err, "not a host name", wrong)
	}
}

func TestCheck(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	require.True(t, Names(nil).Check(w, r, "Do this.")) // example.com
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), "Do this.")
	require.NotContains(t, w.Body.String(), "example.com", "what the client sent is not repeated")
	require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))

	w = httptest.NewRecorder()
	require.False(t, Names{"example.com"}.Check(w, r, ""))
	require.Empty(t, w.Header())
}
