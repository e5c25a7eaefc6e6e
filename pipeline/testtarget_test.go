package pipeline

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

// Every kind of target can be tested, and what cannot even be made says why.
func TestTestTarget(t *testing.T) {
	for _, k := range sinkKinds {
		target := map[string]*config.Target{"loki": {Loki: &config.LokiTarget{URL: "http://127.0.0.1:1"}}, "stdout": {Stdout: &config.StdoutTarget{}},
			"rsyslog": {Rsyslog: &config.RsyslogTarget{Address: "127.0.0.1:1", Protocol: "tcp"}}}[k.name]
		sink, _, err := newSink(target, sinks.Deps{})
		if _, ok := sink.(sinks.Tester); !ok || err != nil {
			t.Errorf("%s: no Tester, or error %v", k.name, err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	defer server.Close()
	r := TestTarget(t.Context(), &config.Target{Name: "loki", Loki: &config.LokiTarget{URL: server.URL}}, nil, TestOptions{Host: "node1", By: "alice"})
	if !r.OK || len(r.Steps) != 4 || !strings.Contains(r.Steps[3].Message, `host="node1"`) {
		t.Errorf("%+v", r)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r = TestTarget(t.Context(), &config.Target{Name: "siem", Rsyslog: &config.RsyslogTarget{Address: l.Addr().String(), Protocol: "tcp"}}, nil, TestOptions{})
	if r.OK || len(r.Steps) != 2 {
		t.Errorf("%+v", r)
	}
	r = TestTarget(t.Context(), &config.Target{Name: "x", Loki: &config.LokiTarget{URL: server.URL, TLSBundle: "b"}}, nil, TestOptions{})
	want := `{"ok":false,"steps":[{"name":"config","ok":false,"message":"there is no TLS bundle \"b\"","seconds":0}]}`
	if got, _ := json.Marshal(r); string(got) != want {
		t.Errorf("%s", got)
	}
	r = TestTarget(t.Context(), &config.Target{Name: "x", Loki: &config.LokiTarget{URL: server.URL, TLSBundle: "b"}}, &config.TLSBundle{Name: "b", CAPem: "no"}, TestOptions{})
	if r.OK || !strings.Contains(r.Steps[0].Message, "reading caPem") {
		t.Errorf("%+v", r)
	}
}
