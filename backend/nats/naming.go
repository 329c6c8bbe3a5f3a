package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/topicbus/pubsub"
)

// maxSubject is the length of the longest subject that is used. The server
// takes lines of 4,096 bytes, which hold a subject, a reply subject and numbers.
const maxSubject = 3072

// names is what a topic is called at the server.
type names struct {
	topic   string
	subject string
	stream  string
}

// names returns the names of a topic. Different topics have different ones.
func (o *options) names(topic string) (names, error) {
	n := names{topic: topic, subject: o.prefix + "." + escape(topic)}
	if len(n.subject) > maxSubject {
		return names{}, fmt.Errorf("%w: its subject would have %d bytes, the limit is %d; what is not plain ASCII counts threefold",
			pubsub.ErrInvalidTopic, len(n.subject), maxSubject)
	}
	// A stream's name may not have dots. That two prefixes may become the same
	// does not matter, because the hash is that of the whole subject.
	sum := sha256.Sum256([]byte(n.subject))
	n.stream = strings.ReplaceAll(o.prefix, ".", "_") + "_" + hex.EncodeToString(sum[:16])
	return n, nil
}

// escape turns a topic into the tokens of a subject. Plain printable ASCII
// stays, and so do dots between other characters: orders.eu can be watched as
// orders.*. All other bytes become % and two hexadecimal digits, among them
// the wildcards, and dots that would leave a token empty.
func escape(topic string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(topic) {
		c := topic[i]
		if plain(c) || c == '.' && i > 0 && topic[i-1] != '.' && i < len(topic)-1 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// plain reports whether a byte means itself in a subject, wherever it stands.
func plain(c byte) bool {
	switch c {
	case '%', '.', '*', '>':
		return false
	}
	return c > ' ' && c < 0x7f
}
