//! Every attempt is on record, whatever layer ended it.

use awf_tests::Run;

use crate::guard::{everything, plain_requests};
use crate::probe::hold;

#[test]
fn plain_http_to_a_name_that_leads_inward_is_on_record_as_denied() {
    hold(Run::allowing(&everything()), &plain_requests());
}
