package run

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// runService is the life of the service's process.
func runService(e Engine, in io.Reader, out io.Writer) error {
	s, err := e.Serve()
	if err != nil {
		return err
	}
	defer s.Close()
	var (
		most atomic.Int64
		stop = make(chan struct{})
		wait sync.WaitGroup
	)
	wait.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if open, _ := s.Streams(); int64(open) > most.Load() {
					most.Store(int64(open)) // nobody else makes it more
				}
			case <-stop:
				return
			}
		}
	})
	defer wait.Wait()
	defer close(stop)
	return answerOrders(in, out, func(_ order, a *answer) error {
		a.Address = s.Address()
		a.Streams.Open, a.Streams.Opened = s.Streams()
		a.Streams.Most = max(a.Streams.Open, int(most.Swap(0)))
		return nil
	})
}
