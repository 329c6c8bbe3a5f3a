package nats

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

func TestNames(t *testing.T) {
	o, err := newOptions(nil)
	require.NoError(t, err)
	for topic, subject := range map[string]string{
		"orders":       "pubsub.orders",
		"orders.eu":    "pubsub.orders.eu",
		"orders/eu#1":  "pubsub.orders/eu#1",
		"t.a.*":        "pubsub.t.a.%2A",
		"t.>":          "pubsub.t.%3E",
		"a*b>c":        "pubsub.a%2Ab%3Ec",
		"100%":         "pubsub.100%25",
		"a b":          "pubsub.a%20b",
		"a\tb\r\n\x00": "pubsub.a%09b%0D%0A%00",
		"ä":            "pubsub.%C3%A4",
		"\x7f":         "pubsub.%7F",
		".":            "pubsub.%2E",
		".a":           "pubsub.%2Ea",
		"a.":           "pubsub.a%2E",
		"a..b":         "pubsub.a.%2Eb",
		"...":          "pubsub.%2E%2E%2E",
		"$JS.API":      "pubsub.$JS.API",
	} {
		n, err := o.names(topic)
		require.NoError(t, err)
		assert.Equal(t, subject, n.subject)
		assert.Regexp(t, `^pubsub_[0-9a-f]{32}$`, n.stream)
	}
}

func TestNamesTooLong(t *testing.T) {
	o, err := newOptions([]Option{WithPrefix("a.b")})
	require.NoError(t, err)
	n, err := o.names(strings.Repeat("x", maxSubject-len("a.b.")))
	require.NoError(t, err)
	assert.Len(t, n.subject, maxSubject)
	assert.True(t, strings.HasPrefix(n.stream, "a_b_"))
	_, err = o.names(strings.Repeat("x", maxSubject-len("a.b.")+1))
	require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
	_, err = o.names(strings.Repeat("日", maxSubject/9+1))
	require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
}

// unescape is what escape is the inverse of.
func unescape(t *testing.T, s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		require.Less(t, i+2, len(s))
		b.WriteByte(byte(strings.IndexByte(digits, s[i+1])<<4 | strings.IndexByte(digits, s[i+2])))
		i += 2
	}
	return b.String()
}

// FuzzEscape: what escape returns can be turned back, and is a literal subject.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"orders.eu", "a..b", "*.>", "%2A", "日本", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		if topic == "" || !utf8.ValidString(topic) {
			return // the Bus does not let it through
		}
		subject := escape(topic)
		assert.Equal(t, topic, unescape(t, subject))
		for token := range strings.SplitSeq(subject, ".") {
			assert.NotEmpty(t, token)
			assert.NotContains(t, token, "*")
			assert.NotContains(t, token, ">")
		}
		for _, c := range []byte(subject) {
			assert.True(t, c > ' ' && c < 0x7f)
		}
	})
}
