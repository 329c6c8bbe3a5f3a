package pubsubdebug_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
	"github.com/topicbus/pubsub/pubsubdebug"
)

// The page belongs on an address that only operators reach, such as that of
// net/http/pprof.
func ExampleHandler() {
	quotes := pubsub.New(memory.New(), codec.JSON[Quote]())
	orders := pubsub.New(memory.New(), codec.String())
	defer quotes.Close()
	defer orders.Close()

	mux := http.NewServeMux()
	mux.Handle("/debug/pubsub", pubsubdebug.Handler(quotes, pubsubdebug.Named("orders", orders)))

	r := httptest.NewRequest(http.MethodGet, "http://localhost:6060/debug/pubsub", nil)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r) // what http.ListenAndServe("localhost:6060", mux) would do
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "orders"))
	// Output: 200 true
}

// A page that also shows how handlers fare.
func ExamplePage_WithMonitor() {
	orders := pubsub.New(memory.New(), codec.String())
	defer orders.Close()
	monitor := new(consume.Monitor) // of the consume.Options of an Each

	page := pubsubdebug.Handler(orders).WithMonitor("billing", monitor)
	r := httptest.NewRequest(http.MethodGet, "http://localhost:6060/debug/pubsub", nil)
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "billing"))
	// Output: 200 true
}
