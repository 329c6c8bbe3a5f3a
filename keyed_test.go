package pubsub_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
	"github.com/topicbus/pubsub/pubsubtest"
)

// Structs that will grow take no literals without field names: a program that
// compiles today shall compile then.
func TestStructsThatGrowNeedFieldNames(t *testing.T) {
	for _, v := range []any{
		pubsub.Stats{}, pubsub.TopicStats{}, pubsub.SubscriptionStats{}, pubsub.Incident{}, pubsub.Observer{},
		consume.Options[int]{}, pubsubtest.Harness{}, pubsubtest.Target{},
	} {
		typ := reflect.TypeOf(v)
		_, guarded := typ.FieldByName("_")
		require.True(t, guarded, "%v has no field that keeps literals without names from compiling", typ)
	}
}
