package compress

import (
	"fmt"

	"github.com/topicbus/pubsub"
)

const (
	// DefaultMinSize is the minimum size of a codec made without
	// [WithMinSize], in bytes. Momento bills each started KiB, so making a
	// shorter payload shorter still would cost time and save nothing.
	DefaultMinSize = 1 << 10
	// DefaultMaxSize is the maximum size of a codec made without
	// [WithMaxSize], in bytes.
	DefaultMaxSize = 16 << 20
	// DefaultLevel is the level of a codec made without [WithLevel].
	DefaultLevel = 3
)

// Option configures [Zstd]. An option that cannot work makes every call of
// the codec fail with [pubsub.ErrInvalidArgument].
type Option func(*config)

type config struct{ minSize, maxSize, level int }

// WithMinSize leaves payloads shorter than n bytes alone. It must not be
// negative; the default is [DefaultMinSize]. Longer ones are left alone too
// where compression would not make them shorter. Readers need not know n.
func WithMinSize(n int) Option { return func(c *config) { c.minSize = n } }

// WithMaxSize sets how many bytes a payload may have before compression, and
// so how much a received one may decompress to. It must be at least 1 KiB;
// the default is [DefaultMaxSize]. Publishers and subscribers of a topic
// should agree on it. Frames of other writers must not declare a window
// larger than n either.
func WithMaxSize(n int) Option { return func(c *config) { c.maxSize = n } }

// WithLevel sets how hard Encode tries, in the numbers of the zstd tool: from
// 1, the fastest, to 22. The default is [DefaultLevel]. Several numbers can
// mean the same. Readers need not know it.
func WithLevel(n int) Option { return func(c *config) { c.level = n } }

func (c config) check() error {
	switch {
	case c.minSize < 0:
		return fmt.Errorf("compress.WithMinSize(%d): %w: must not be negative", c.minSize, pubsub.ErrInvalidArgument)
	case c.maxSize < 1<<10:
		// A decoder must at least allow the smallest window of the format.
		return fmt.Errorf("compress.WithMaxSize(%d): %w: must be at least 1024", c.maxSize, pubsub.ErrInvalidArgument)
	case c.level < 1 || c.level > 22:
		return fmt.Errorf("compress.WithLevel(%d): %w: must be from 1 to 22", c.level, pubsub.ErrInvalidArgument)
	}
	return nil
}
