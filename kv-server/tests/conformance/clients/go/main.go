// Go clients against one scenario: `clients go-redis|rueidis SCENARIO.json`, where `scenario.rs` says what is in it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
)

type pair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

type node struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

type scenario struct {
	Nodes    []node   `json:"nodes"`
	Cluster  bool     `json:"cluster"`
	Resp     *int     `json:"resp"`
	Password *string  `json:"password"`
	Pairs    []pair   `json:"pairs"`
	Misses   [][]byte `json:"misses"`
	SameSlot []pair   `json:"same_slot"`
	Total    int      `json:"total"`
	Refusal  *string  `json:"refusal"`
	OtherDb  *struct {
		pair
		Db int `json:"db"`
	} `json:"other_db"`
}

func (s scenario) addresses() []string {
	var addresses []string
	for _, node := range s.Nodes {
		addresses = append(addresses, fmt.Sprintf("%s:%d", node.Host, node.Port))
	}
	return addresses
}

func main() {
	text, err := os.ReadFile(os.Args[2])
	held("reading the scenario", err)
	var s scenario
	held("reading the scenario", json.Unmarshal(text, &s))
	switch os.Args[1] {
	case "go-redis":
		goRedis(s)
	case "rueidis":
		rueidisClient(s)
	default:
		fail("arguments", "no such client: "+os.Args[1])
	}
}

func check(what string, actual, expected any) {
	if !reflect.DeepEqual(actual, expected) {
		fail(what, fmt.Sprintf("%.200q instead of %.200q", fmt.Sprint(actual), fmt.Sprint(expected)))
	}
	fmt.Println("ok", what)
}

func held(what string, err error) {
	if err != nil {
		fail(what, err.Error())
	}
}

func fail(what, why string) {
	fmt.Printf("FAILED %s: %s\n", what, why)
	os.Exit(1)
}
