package memory_test

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// However many messages are lost, numbers only grow, and no two messages have
// the same one.
func TestLoseVeryMany(t *testing.T) {
	const most = uint64(1) << 60
	for _, c := range []struct {
		n    []uint64
		want []string // between 1/1=x and y
		next pubsub.Position
	}{
		{[]uint64{most - 1}, []string{fmt.Sprint("backend ", most-1, " 1/1>1/", most+1)}, at(1, most+1)},
		{[]uint64{most}, []string{fmt.Sprint("reset ", most, "? 1/1>2/1")}, at(2, 1)},
		{[]uint64{1 << 61}, []string{fmt.Sprint("reset ", uint64(1)<<61, "? 1/1>2/1")}, at(2, 1)},
		{[]uint64{math.MaxUint64}, []string{fmt.Sprint("reset ", uint64(math.MaxUint64), "? 1/1>2/1")}, at(2, 1)},
		{[]uint64{math.MaxUint64, math.MaxUint64}, []string{
			fmt.Sprint("reset ", uint64(math.MaxUint64), "? 1/1>2/1"), fmt.Sprint("reset ", uint64(math.MaxUint64), "? ->3/1"),
		}, at(3, 1)},
		{[]uint64{most - 2, 1, 1}, []string{
			fmt.Sprint("backend ", most-2, " 1/1>1/", most), fmt.Sprint("backend 1 1/", most-1, ">1/", most+1), fmt.Sprint("reset 1? 1/", most, ">2/1"),
		}, at(2, 1)},
	} {
		t.Run(fmt.Sprint(c.n), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				r := open(t, b, "a", pubsub.Position{}).start(nil)
				synctest.Wait()
				publish(t, b, "a", "x")
				var lost uint64
				for _, n := range c.n {
					b.Lose(n, "a")
					if lost+n < lost {
						lost = math.MaxUint64
					} else {
						lost += n
					}
				}
				publish(t, b, "a", "y")
				synctest.Wait()
				require.Equal(t, append(append([]string{"1/1=x"}, c.want...), c.next.String()+"=y"), r.log())
				if lost+2 < lost {
					require.Equal(t, uint64(math.MaxUint64), b.Stats("a").Accepted)
				} else {
					require.Equal(t, lost+2, b.Stats("a").Accepted)
				}
			})
		})
	}
}

// What an outage hid is counted as far as numbers reach.
func TestLoseVeryManyDuringAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish(t, b, "a", "x")
		b.Disconnect(nil)
		publish(t, b, "a", "missed")
		b.Lose(math.MaxUint64)
		publish(t, b, "a", "y")
		require.Equal(t, uint64(math.MaxUint64), held(r))
		b.Reconnect()
		synctest.Wait()
		require.Equal(t, fmt.Sprint("reset ", uint64(math.MaxUint64-1), "? 1/1>2/1"), r.log()[3]) // a lower bound
		require.Equal(t, "2/1=y", r.log()[4])
		require.Zero(t, held(r))
	}, memory.WithHistory(10))
}
