package rsyslog

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/internal/tlsbundle"
)

// BenchmarkRefusal measures how long after the client's handshake succeeded
// the refusal of its certificate arrives: what settleTime is chosen by.
func BenchmarkRefusal(b *testing.B) {
	ca, foreign := testbed.NewCA(b, "CA"), testbed.NewCA(b, "foreign CA")
	for _, driver := range []string{"gtls", "ossl"} {
		r := testbed.StartRsyslog(b, testbed.RsyslogOptions{
			Protocol: driver, CA: ca, Cert: ca.Server(b, "localhost"), PermittedPeers: []string{"node1"},
		})
		for _, c := range []struct {
			name string
			cert *testbed.Cert
		}{
			{"wrong-name", ca.Client(b, "node2")}, {"foreign-CA", foreign.Client(b, "node1")},
			{"expired", ca.Expired(b, "node1")}, {"none", &testbed.Cert{}},
		} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				b.Run(fmt.Sprintf("%s/%s/%s", driver, c.name, tls.VersionName(version)[4:]), func(b *testing.B) {
					conf, err := tlsbundle.Client(tlsbundle.Options{CAPem: ca.PEM, CertPem: c.cert.CertPEM, KeyPem: c.cert.KeyPEM, ServerName: "localhost"})
					if err != nil {
						b.Fatal(err)
					}
					conf.MaxVersion = version
					var longest, sum time.Duration
					late := 0
					var text string
					for b.Loop() {
						text, err = "", nil
						conn, err := tls.Dial("tcp", r.Address, conf)
						if err == nil {
							start := time.Now()
							conn.SetReadDeadline(start.Add(10 * time.Second))
							_, werr := conn.Write([]byte("24 <13>1 - - - - - - hello\n"))
							_, err = conn.Read(make([]byte, 1))
							took := time.Since(start)
							longest, sum, late = max(longest, took), sum+took, late+1
							text = fmt.Sprintf("write: %v, read: %v", werr, err)
							conn.Close()
						} else {
							text = err.Error()
						}
					}
					b.Log(text)
					b.ReportMetric(float64(late)/float64(b.N), "late/op")
					b.ReportMetric(longest.Seconds()*1e3, "ms-max")
					b.ReportMetric(sum.Seconds()*1e3/float64(max(late, 1)), "ms-mean")
				})
			}
		}
	}
}
