package main

import (
	"context"
	"strings"

	"github.com/redis/rueidis"
)

// The client that insists on `CLIENT TRACKING`: it caches on its side and pipelines by itself. It speaks RESP3 alone, unless its
// cache is switched off.
func rueidisClient(s scenario) {
	ctx := context.Background()
	options := rueidis.ClientOption{InitAddress: s.addresses()}
	if s.Resp != nil && *s.Resp == 2 {
		options.AlwaysRESP2, options.DisableCache = true, true
	}
	if s.Password != nil {
		options.Password = *s.Password
	}
	client, err := rueidis.NewClient(options)
	held("connect", err)
	defer client.Close()
	get := func(client rueidis.Client, key []byte) (string, error) {
		return client.Do(ctx, client.B().Get().Key(string(key)).Build()).ToString()
	}

	for _, pair := range s.Pairs {
		value, err := get(client, pair.Key)
		held("GET of a key", err)
		check("GET of a key", value, string(pair.Value))
	}
	for _, key := range s.Misses {
		_, err := get(client, key)
		check("GET of no key", rueidis.IsRedisNil(err), true)
	}
	var keys []string
	for _, pair := range s.SameSlot {
		keys = append(keys, string(pair.Key))
	}
	found, err := client.Do(ctx, client.B().Mget().Key(keys...).Build()).AsStrSlice()
	held("MGET", err)
	for at, value := range found {
		check("MGET", value, string(s.SameSlot[at].Value))
	}
	key := string(s.Pairs[0].Key)
	length, err := client.Do(ctx, client.B().Strlen().Key(key).Build()).AsInt64()
	held("STRLEN", err)
	check("STRLEN", length, int64(len(s.Pairs[0].Value)))

	var batch rueidis.Commands
	for range 50 {
		for _, pair := range s.Pairs {
			batch = append(batch, client.B().Get().Key(string(pair.Key)).Build())
		}
	}
	for at, reply := range client.DoMulti(ctx, batch...) {
		value, err := reply.ToString()
		held("pipeline", err)
		if value != string(s.Pairs[at%len(s.Pairs)].Value) {
			fail("pipeline", value)
		}
	}

	seen := 0
	for _, node := range client.Nodes() {
		for cursor := uint64(0); ; {
			page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Count(100).Build()).AsScanEntry()
			held("SCAN", err)
			seen += len(page.Elements)
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	check("SCAN sees every key", seen >= s.Total, true)

	if s.Refusal != nil {
		err := client.Do(ctx, client.B().Set().Key(key).Value("other").Build()).Error()
		check("a refused SET", err != nil && strings.HasPrefix(err.Error(), *s.Refusal), true)
	}
	if s.OtherDb != nil {
		options.SelectDB = s.OtherDb.Db
		selected, err := rueidis.NewClient(options)
		held("SELECT", err)
		value, err := get(selected, s.OtherDb.Key)
		held("SELECT", err)
		check("SELECT", value, string(s.OtherDb.Value))
		selected.Close()
	}
}
