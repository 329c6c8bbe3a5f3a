package momento

import (
	"errors"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub/internal/foreign"
	"google.golang.org/grpc/status"
)

// shown returns err as it may be kept and shown: itself where nothing has to be
// changed. The SDK's code and the gRPC status stay visible to errors.As.
func shown(f *foreign.Filter, err error) error {
	err, _ = change(f, err)
	return err
}

// change is shown. It tells whether anything had to be changed.
func change(f *foreign.Filter, err error) (_ error, changed bool) {
	if err == nil {
		return nil, false
	}
	var me sdk.MomentoError
	if errors.As(err, &me) {
		message := f.Text(me.Message())
		original, changed := change(f, me.OriginalErr())
		if !changed && message == me.Message() {
			return err, false
		}
		return sdk.NewMomentoError(me.Code(), message, original), true
	}
	if st, ok := status.FromError(err); ok {
		message := f.Text(st.Message())
		if message == st.Message() && len(st.Proto().GetDetails()) == 0 {
			return err, false
		}
		return status.Error(st.Code(), message), true
	}
	if message := f.Text(err.Error()); message != err.Error() {
		return errors.New(message), true
	}
	return err, false
}
