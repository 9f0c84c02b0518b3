package main

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

func goRedis(s scenario) {
	ctx := context.Background()
	client := connect(s, s.Password, 0)
	defer client.Close()

	for _, pair := range s.Pairs {
		value, err := client.Get(ctx, string(pair.Key)).Bytes()
		held("GET of a key", err)
		check("GET of a key", string(value), string(pair.Value))
	}
	for _, key := range s.Misses {
		check("GET of no key", client.Get(ctx, string(key)).Err(), redis.Nil)
	}

	var keys []string
	var values []any
	for _, pair := range s.SameSlot {
		keys, values = append(keys, string(pair.Key)), append(values, string(pair.Value))
	}
	absent := keys[0] + "-absent" // has the same hash tag
	found, err := client.MGet(ctx, append(keys[:len(keys):len(keys)], absent)...).Result()
	held("MGET", err)
	check("MGET", found, append(values, nil))
	first, missing := s.Pairs[0], string(s.Misses[0])
	key, value := string(first.Key), string(first.Value)
	check("EXISTS", client.Exists(ctx, append(keys[:len(keys):len(keys)], absent, keys[0])...).Val(), int64(len(keys)+1))
	check("STRLEN", client.StrLen(ctx, key).Val(), int64(len(value)))
	check("STRLEN of no key", client.StrLen(ctx, missing).Val(), int64(0))
	check("GETRANGE", client.GetRange(ctx, key, 1, -2).Val(), value[1:len(value)-1])
	check("TYPE", client.Type(ctx, key).Val(), "string")
	check("TYPE of no key", client.Type(ctx, missing).Val(), "none")
	check("TTL", int64(client.TTL(ctx, key).Val()), int64(-1))
	check("TTL of no key", int64(client.TTL(ctx, missing).Val()), int64(-2))
	check("PTTL", int64(client.PTTL(ctx, key).Val()), int64(-1))

	seen := map[string]bool{}
	var lock sync.Mutex
	scan := func(ctx context.Context, node *redis.Client) error {
		iterator := node.Scan(ctx, 0, "", 100).Iterator()
		for iterator.Next(ctx) {
			lock.Lock()
			seen[iterator.Val()] = true
			lock.Unlock()
		}
		return iterator.Err()
	}
	if cluster, is := client.(*redis.ClusterClient); is {
		held("SCAN", cluster.ForEachMaster(ctx, scan))
	} else {
		held("SCAN", scan(ctx, client.(*redis.Client)))
	}
	check("SCAN sees every key", len(seen), s.Total)
	for _, pair := range s.Pairs {
		check("SCAN sees these keys", seen[string(pair.Key)], true)
	}

	commands, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for range 50 {
			for _, pair := range s.Pairs {
				pipe.Get(ctx, string(pair.Key))
			}
		}
		return nil
	})
	held("pipeline", err)
	for at, command := range commands {
		if string(s.Pairs[at%len(s.Pairs)].Value) != command.(*redis.StringCmd).Val() {
			fail("pipeline", command.String())
		}
	}
	commands, err = client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Get(ctx, keys[0])
		pipe.StrLen(ctx, keys[0])
		return nil
	})
	held("transaction", err)
	check("transaction", commands[0].(*redis.StringCmd).Val(), values[0])

	info, err := client.Info(ctx).Result()
	held("INFO", err)
	check("INFO", strings.Contains(info, "redis_version:"), true)

	if s.Refusal != nil {
		err := client.Set(ctx, key, "other", 0).Err()
		check("a refused SET", err != nil && strings.HasPrefix(err.Error(), *s.Refusal), true)
		check("GET after a refused SET", client.Get(ctx, key).Val(), value)
	}
	if s.OtherDb != nil {
		selected := connect(s, s.Password, s.OtherDb.Db)
		check("SELECT", selected.Get(ctx, string(s.OtherDb.Key)).Val(), string(s.OtherDb.Value))
		check("another database has other keys", client.Get(ctx, string(s.OtherDb.Key)).Err(), redis.Nil)
		selected.Close()
	}
	if s.Password != nil {
		wrong := "wrong"
		err := connect(s, &wrong, 0).Ping(ctx).Err()
		check("a wrong password", err != nil && strings.HasPrefix(err.Error(), "WRONGPASS"), true)
	}
}

func connect(s scenario, password *string, db int) redis.UniversalClient {
	options := redis.Options{Addr: s.addresses()[0], DB: db}
	clusterOptions := redis.ClusterOptions{Addrs: s.addresses()}
	if s.Resp != nil {
		options.Protocol, clusterOptions.Protocol = *s.Resp, *s.Resp
	}
	if password != nil {
		options.Password, clusterOptions.Password = *password, *password
	}
	if s.Cluster {
		return redis.NewClusterClient(&clusterOptions)
	}
	return redis.NewClient(&options)
}
