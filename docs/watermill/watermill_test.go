// Package watermill compiles those blocks of docs/migrating.md that need
// watermill, and checks what that page says about it. It is a module of its
// own so that pubsub does not depend on watermill.
package watermill

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"
)

// Blocks in ~~~ are those that the pubsub module itself cannot compile.
var block = regexp.MustCompile(`(?ms)^~~~go\n(.*?)^~~~$`)

func TestBlocksCompile(t *testing.T) {
	text, err := os.ReadFile("../migrating.md")
	require.NoError(t, err)
	blocks := block.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	for i, b := range blocks {
		dir, err := os.MkdirTemp(".", "block") // inside the module, for its dependencies
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		source := "package block\n\n" + b[1] + "\ntype Quote struct{ Symbol string }\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "block.go"), []byte(source), 0o600))
		out, err := exec.Command("go", "vet", "./"+dir).CombinedOutput()
		require.NoError(t, err, "block %d: %s", i, out)
	}
}

// Publish returns though nobody reads and the buffer is full.
func TestMessagesPileUp(t *testing.T) {
	bus := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1}, nil)
	defer bus.Close()
	_, err := bus.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	for i := range 1000 {
		require.NoError(t, bus.Publish("t", message.NewMessage(strconv.Itoa(i), nil)))
	}
}

// A message that is not acknowledged is handed out again.
func TestNackRepeats(t *testing.T) {
	bus := gochannel.NewGoChannel(gochannel.Config{}, nil)
	defer bus.Close()
	messages, err := bus.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	require.NoError(t, bus.Publish("t", message.NewMessage("1", nil)))
	(<-messages).Nack()
	select {
	case m := <-messages:
		require.Equal(t, "1", m.UUID)
		m.Ack()
	case <-time.After(10 * time.Second):
		t.Fatal("not repeated")
	}
}

// Order is not kept, unless Publish waits for acknowledgements.
func TestOrder(t *testing.T) {
	inOrder := func(wait bool) bool {
		bus := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: wait, OutputChannelBuffer: 1000}, nil)
		defer bus.Close()
		messages, err := bus.Subscribe(t.Context(), "t")
		require.NoError(t, err)
		go func() {
			for i := range 1000 {
				bus.Publish("t", message.NewMessage(strconv.Itoa(i), nil))
			}
		}()
		ordered := true
		for i := range 1000 {
			m := <-messages
			m.Ack()
			ordered = ordered && m.UUID == strconv.Itoa(i)
		}
		return ordered
	}
	require.True(t, inOrder(true))
	require.Eventually(t, func() bool { return !inOrder(false) }, time.Minute, time.Millisecond)
}
