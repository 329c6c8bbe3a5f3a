package momento_test

import (
	"context"
	"fmt"
	"log"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	sdk "github.com/momentohq/client-sdk-go/momento"
	tokens "github.com/momentohq/client-sdk-go/responses/auth"
	"github.com/momentohq/client-sdk-go/utils"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/codec"
)

// vend makes a token that may publish to the topics of a cache, for half an hour.
// The service puts its id on everything that is published with it.
func vend(ctx context.Context, ours auth.CredentialProvider, cache, id string) (string, error) {
	client, err := sdk.NewAuthClient(config.AuthDefaultWithLogger(logger.NewNoopMomentoLoggerFactory()), ours)
	if err != nil {
		return "", err
	}
	defer client.Close()
	answer, err := client.GenerateDisposableToken(ctx, &sdk.GenerateDisposableTokenRequest{
		ExpiresIn: utils.ExpiresInMinutes(30),
		Scope:     sdk.TopicNamePrefixPublishOnly(sdk.CacheName{Name: cache}, ""),
		Props:     sdk.DisposableTokenProps{TokenId: &id},
	})
	if err != nil {
		return "", err
	}
	token, ok := answer.(*tokens.GenerateDisposableTokenSuccess)
	if !ok {
		return "", fmt.Errorf("no token was made: %T", answer)
	}
	return token.ApiKey, nil
}

// A server that knows its users vends each a token of its own. This one needs
// the service, so it is compiled and not run.
func Example_vendToken() {
	ours, err := auth.FromEnvironmentVariablesV2()
	if err != nil {
		log.Fatal(err)
	}
	token, err := vend(context.Background(), ours, "my-cache", "till-7")
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := auth.FromDisposableToken(token)
	if err != nil {
		log.Fatal(err)
	}
	backend, err := momento.New("my-cache", momento.WithCredentials(theirs))
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
}

// The id of the token that a message was published with is its Publisher: the
// service says it, not the publisher.
func Example_publisher() {
	server, err := momentotest.NewServer(momentotest.WithCaches("my-cache"))
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.AddToken("a vended token", "till-7") // see vend

	open := func(credentials auth.CredentialProvider) (pubsub.Bus[string], func()) {
		backend, err := momento.New("my-cache", momento.WithCredentials(credentials))
		if err != nil {
			log.Fatal(err)
		}
		bus := pubsub.New(backend, codec.String())
		return bus, func() { bus.Close(); backend.Close() }
	}
	ours, closeOurs := open(server.Credentials())
	defer closeOurs()
	theirs, closeTheirs := open(server.CredentialsFor("a vended token"))
	defer closeTheirs()

	ctx := context.Background()
	sub, err := ours.Subscribe(ctx, "sales")
	if err != nil {
		log.Fatal(err)
	}
	if err := theirs.Publish(ctx, "sales", "tea"); err != nil {
		log.Fatal(err)
	}
	for m := range sub.Messages() {
		fmt.Println(m.Publisher, "sold", m.Value)
		break
	}
	// Output: till-7 sold tea
}
