package etcdstore

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"

	"github.com/lbshipd/lbshipd/internal/tlsbundle"
)

// Examination is how one member of etcd does.
type Examination struct {
	Endpoint string
	Err      error         // why it does not answer, or not as it should
	Refused  bool          // it answers, and refuses our user or password
	TLS      bool          // the handshake has failed
	NoLeader bool          // it has no leader
	Alarms   []string      // that are raised, such as NOSPACE and CORRUPT
	Took     time.Duration // for one answer that a majority of members had to agree to
}

// Examine asks each member of etcd by itself how it does, all at once. It writes nothing, and ends
// with ctx, or once each member has had Timeout for each of three questions.
func Examine(ctx context.Context, o Options) ([]Examination, error) {
	if _, err := checkEndpoints(&o); err != nil {
		return nil, err
	}
	all := make([]Examination, len(o.Endpoints))
	errs := make([]error, len(o.Endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range o.Endpoints {
		wg.Go(func() { all[i], errs[i] = examine(ctx, o, endpoint) })
	}
	wg.Wait()
	return all, errors.Join(errs[:min(1, len(errs))]...)
}

// examine asks one member. The error is one of the options.
func examine(ctx context.Context, o Options, endpoint string) (Examination, error) {
	x := Examination{Endpoint: endpoint}
	o.Endpoints, o.CacheFile, o.Log = []string{endpoint}, "", slog.New(slog.DiscardHandler)
	s, err := New(o)
	if err != nil {
		return x, err
	}
	defer s.Close()
	x.Err = s.examine(ctx, endpoint, &x)
	if x.Err == nil {
		return x, nil
	}
	var known rpctypes.EtcdError
	if errors.As(rpctypes.Error(x.Err), &known) {
		x.Refused = known.Code() == codes.Unauthenticated || known.Code() == codes.PermissionDenied || known == rpctypes.ErrAuthFailed || known == rpctypes.ErrUserEmpty
		x.NoLeader = x.NoLeader || known == rpctypes.ErrNoLeader
	}
	if last := s.conn.last(); last != nil && !x.Refused {
		var explained *tlsbundle.Error
		x.TLS = errors.As(last, &explained) || tlsbundle.FaultOf(last) != tlsbundle.Unknown
	}
	if !x.Refused {
		x.Err = s.unavailable(x.Err)
	}
	return x, nil
}

func (s *Store) examine(ctx context.Context, endpoint string, x *Examination) error {
	asking, cancel := s.within(ctx)
	defer cancel()
	client, err := s.conn.get(asking)
	if err != nil {
		return err
	}
	// What a member says of itself needs nobody else; who may not ask may still read.
	if st, err := client.Status(asking, endpoint); err == nil {
		x.NoLeader = st.Leader == 0
		for _, text := range st.Errors {
			if _, alarm, ok := strings.Cut(text, "alarm:"); ok {
				x.Alarms = append(x.Alarms, strings.TrimSpace(alarm))
			}
		}
	} else if asking.Err() != nil {
		return err
	}
	reading, cancel := s.within(ctx)
	defer cancel()
	if _, err = client.Get(reading, s.generationKey()); err != nil {
		return err
	}
	start := time.Now()
	_, err = client.Get(reading, s.generationKey())
	x.Took = time.Since(start)
	return err
}
