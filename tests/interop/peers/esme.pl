# An ESME on Net::SMPP: reads one JSON document, binds, sends what it says, waits for its receipts, unbinds, writes another.
use strict;
use warnings;
use Encode qw(decode encode);
use JSON::PP;
use Net::SMPP;

local $/;
my $order = decode_json(<STDIN>);
my $result = {bound => undef, requested => [], answers => [], delivered => [], enquired => undef, unbound => undef};
my %asked;

my $bind = "new_$order->{kind}";
my ($smpp, $bound) = Net::SMPP->$bind(
    '127.0.0.1', port => $order->{port}, system_id => $order->{user}, password => $order->{password},
    interface_version => $order->{version}, addr_ton => 0, addr_npi => 0, system_type => '',
) or die "no connection: $!";
$result->{bound} = $bound->{status};
$result->{version} = defined $bound->{sc_interface_version} ? ord $bound->{sc_interface_version} : 0;
# While it waits for an answer it drops what has no handler.
${*$smpp}{handlers}{Net::SMPP::CMD_deliver_sm()} = sub { take($_[1]) };
if ($bound->{status} == 0) {
    my $id;
    for my $wanted (@{$order->{requests}}) {
        my %fields = map { $_ => $wanted->{fields}{$_} eq '$id' ? $id : $wanted->{fields}{$_} } keys %{$wanted->{fields}};
        my $command = $wanted->{command};
        my $answer = $smpp->$command(%fields) // die 'closed by the other side';
        $id //= $answer->{message_id};
        push @{$result->{requested}}, {
            status => $answer->{status}, id => $answer->{message_id} // '', state => $answer->{message_state} // -1,
            refused => [], parameters => [],
        };
    }
    submit($_) for @{$order->{parts}};
    while (%asked || @{$result->{delivered}} < $order->{receipts}) {
        take($smpp->read_pdu() // die 'closed by the other side');
    }
    my $answer = $smpp->enquire_link();
    $result->{enquired} = $answer->{status};
    $answer = $smpp->unbind();
    $result->{unbound} = $answer->{status};
}
print encode_json($result);

sub submit {
    my ($part) = @_;
    my $body = $part->{octets} ne '' ? pack('H*', $part->{octets})
        : encode($part->{coding} == 8 ? 'UTF-16BE' : 'gsm0338', $part->{text});
    my $udh = pack('H*', $part->{udh});
    my @tlvs;
    if ($part->{sar}) {
        my ($reference, $total, $number) = @{$part->{sar}};
        @tlvs = (sar_msg_ref_num => pack('n', $reference), sar_total_segments => pack('C', $total),
            sar_segment_seqnum => pack('C', $number));
    }
    push @tlvs, message_payload => "$udh$body" if $part->{payload};
    my $sequence = $smpp->submit_sm(
        source_addr_ton => 5, source_addr_npi => 0, source_addr => $order->{sender},
        dest_addr_ton => 1, dest_addr_npi => 1, destination_addr => $part->{dest},
        esm_class => $udh eq '' ? 0 : Net::SMPP::ESM_feature_UDHI, data_coding => $part->{coding},
        registered_delivery => $part->{registered}, short_message => $part->{payload} ? '' : "$udh$body", async => 1, @tlvs,
    );
    push @{$result->{answers}}, {};
    $asked{$sequence} = $result->{answers}[-1];
}

sub take {
    my ($pdu) = @_;
    if ($pdu->{cmd} == Net::SMPP::CMD_submit_sm_resp) {
        my $answer = delete $asked{$pdu->{seq}};
        @$answer{qw(status id)} = ($pdu->{status}, $pdu->{message_id} // '');
    } elsif ($pdu->{cmd} == Net::SMPP::CMD_deliver_sm) {
        $smpp->deliver_sm_resp(seq => $pdu->{seq}, message_id => '');
        my $body = $pdu->{short_message};
        my $udh = $pdu->{esm_class} & Net::SMPP::ESM_feature_UDHI ? substr($body, 0, ord($body) + 1, '') : '';
        my $binary = $pdu->{data_coding} == 4;
        push @{$result->{delivered}}, {
            esm_class => $pdu->{esm_class}, source => $pdu->{source_addr}, dest => $pdu->{destination_addr},
            coding => $pdu->{data_coding}, udh => unpack('H*', $udh), octets => $binary ? unpack('H*', $body) : '',
            text => $binary ? '' : decode($pdu->{data_coding} == 8 ? 'UTF-16BE' : 'gsm0338', $body),
            id => $pdu->{receipted_message_id} // '',
            state => defined $pdu->{message_state} ? ord $pdu->{message_state} : -1,
        };
    } elsif ($pdu->{cmd} == Net::SMPP::CMD_enquire_link) {
        $smpp->enquire_link_resp(seq => $pdu->{seq});
    } else {
        die sprintf('unexpected command %x', $pdu->{cmd});
    }
}
