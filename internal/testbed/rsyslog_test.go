package testbed

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"testing"
)

func TestRsyslogReceives(t *testing.T) {
	ca := NewCA(t, "test CA")
	for _, protocol := range []string{"tcp", "udp", "gtls", "ossl"} {
		t.Run(protocol, func(t *testing.T) {
			r := StartRsyslog(t, RsyslogOptions{
				Protocol: protocol, CA: ca, Cert: ca.Server(t, "localhost"), PermittedPeers: []string{"node1"},
			})
			send := func(text string) {
				var c net.Conn
				var err error
				switch protocol {
				case "tcp", "udp":
					c, err = net.Dial(protocol, r.Address)
				default:
					roots := x509.NewCertPool()
					roots.AddCert(ca.Cert)
					c, err = tls.Dial("tcp", r.Address, &tls.Config{RootCAs: roots, ServerName: "localhost",
						Certificates: []tls.Certificate{ca.Client(t, "node1").TLS(t)}})
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if protocol != "udp" {
					text = fmt.Sprintf("%d %s", len(text), text)
				}
				if _, err := c.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			const text = "<13>1 2026-01-02T03:04:05.678901Z h a p m [x@1 k=\"v\\\"\"] one\ntwo \"\\/ \xff\xc3\xa4"
			send(text)
			want := RsyslogMessage{PRI: "13", Version: "1", Timestamp: "2026-01-02T03:04:05.678901Z", Host: "h", AppName: "a",
				ProcID: "p", MsgID: "m", StructuredData: `[x@1 k="v\""]`, Msg: "one\ntwo \"\\/ \xff\xc3\xa4", Raw: text}
			if got := r.Wait(t, 1); got[0] != want {
				t.Errorf("got  %+q\nwant %+q", got[0], want)
			}
			for i, stop := range []func(){r.Stop, r.Kill} {
				stop()
				r.Start(t)
				send("<14>1 - - - - - - again")
				if got := r.Wait(t, i+2); got[i+1].Msg != "again" {
					t.Errorf("after a restart: %+q", got[i+1])
				}
			}
		})
	}
}
