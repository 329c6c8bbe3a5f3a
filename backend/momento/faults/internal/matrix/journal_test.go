package matrix

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// Messages that were accepted while Subscribe was under way may be delivered
// or not, but in order and once.
func TestAuditOfMessagesFromDuringSubscribe(t *testing.T) {
	for _, test := range []struct {
		name                 string
		got                  []int
		disorder, duplicates int
	}{
		{"none", []int{4, 5}, 0, 0},
		{"all", []int{2, 3, 4, 5}, 0, 0},
		{"the last", []int{3, 4, 5}, 0, 0},
		{"from before", []int{1, 4, 5}, 1, 0},
		{"out of order", []int{3, 2, 4, 5}, 1, 0},
		{"twice", []int{3, 3, 4, 5}, 0, 1},
		{"late", []int{4, 3, 5}, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv, err := momentotest.NewServer(momentotest.WithCaches(cacheName))
			require.NoError(t, err)
			defer srv.Close()
			b := openBook(srv.Topic(cacheName, topicName(0)))
			at := make([]pubsub.Position, 6)
			for n := 1; n < len(at); n++ {
				at[n], err = b.topic.Publish(pubsub.Payload{})
				require.NoError(t, err)
			}
			j := &journal{changed: func() {}}
			for _, n := range test.got {
				j.add(entry{at: at[n]})
			}
			var o Outcome
			j.audit(b, at[1], at[3], &o)
			require.Equal(t, Outcome{Accepted: 2, Delivered: 2, Disorder: test.disorder, Duplicates: test.duplicates}, o)
		})
	}
}
