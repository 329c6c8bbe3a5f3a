// Package protocodec has the codecs of Protocol Buffers messages for
// [github.com/topicbus/pubsub]: [Binary] for the wire format and [JSON] for
// ProtoJSON.
//
// Both take the generated type as it stands in the Bus, a pointer:
//
//	bus := pubsub.New(backend, protocodec.Binary[*pb.Quote]())
//
// What both guarantee:
//   - They write the message and nothing else, so that any Protocol Buffers
//     implementation can read and write the same topic.
//   - They decode Binary and Text payloads alike.
//   - Every decoded message is new and shares no memory with the payload. A
//     message type is mutable, so the Bus decodes once per subscription,
//     unless [pubsub.WithSharedDecode] is set.
//   - Fields this program does not know are no error, so that publishers can
//     be upgraded before subscribers.
//   - A nil message is an error of Encode ([pubsub.ErrInvalidArgument]): it
//     would arrive as an empty one.
//   - Nesting is limited; malformed payloads are errors.
package protocodec
