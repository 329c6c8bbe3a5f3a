package nats

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestQuoted: subjects come as the server writes them, with %q.
func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		`Permissions Violation for Publish to "a.b"`:                    `a.b`,
		`Permissions Violation for Publish to "a\"b"`:                   `a"b`,
		`Permissions Violation for Publish to "ab\""`:                   `ab"`,
		`Permissions Violation for Publish to "a\\b"`:                   `a\b`,
		`Permissions Violation for Subscription to "a" using queue "q"`: `a`,
		`Permissions Violation for Subscription to "a\"" (sid "7")`:     `a"`,
		`Permissions Violation for Publish to "a`:                       ``,
		`Permissions Violation for Publish to "a\"`:                     ``,
		`Permissions Violation`:                                         ``,
		`'`:                                                             ``,
		``:                                                              ``,
	} {
		assert.Equal(t, want, quoted(text), text)
	}
}
