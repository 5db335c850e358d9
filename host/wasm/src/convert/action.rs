//! World `action`: calls and receipts go out, descriptions and receipts come in, within the
//! limits that `wit/worlds.wit` states.

use grace_model::plugin::{ActionCall, ActionInfo, Param, ParamType, Receipt, Risk};

use crate::bindings::act as wit;
use crate::convert::types;
use crate::failure::Stop;

/// Bytes that `undo` may need.
const MAX_UNDO: usize = 64 << 10;

pub fn call_out(call: &ActionCall) -> wit::Call {
    wit::Call {
        action: call.action.clone(),
        params: types::fields_out(&call.params),
        incident: call.incident.clone(),
    }
}

pub fn receipt_out(receipt: &Receipt) -> wit::Receipt {
    wit::Receipt {
        changed: receipt.changed,
        summary: receipt.summary.clone(),
        outputs: types::fields_out(&receipt.outputs),
        undo: receipt.undo.clone(),
    }
}

pub fn receipt_in(receipt: wit::Receipt) -> Result<Receipt, Stop> {
    if receipt.undo.len() > MAX_UNDO {
        return Err(Stop::Quota(format!(
            "{} bytes for undo; at most {MAX_UNDO} are kept",
            receipt.undo.len()
        )));
    }
    Ok(Receipt {
        changed: receipt.changed,
        summary: receipt.summary,
        outputs: types::fields_in(receipt.outputs),
        undo: receipt.undo,
    })
}

pub fn info_in(info: wit::ActionInfo) -> ActionInfo {
    ActionInfo {
        name: info.name,
        summary: info.summary,
        params: info.params.into_iter().map(param_in).collect(),
        outputs: info.outputs,
        risk: match info.risk {
            wit::Risk::None => Risk::None,
            wit::Risk::Low => Risk::Low,
            wit::Risk::Medium => Risk::Medium,
            wit::Risk::High => Risk::High,
        },
        undoable: info.undoable,
    }
}

fn param_in(param: wit::Param) -> Param {
    Param {
        name: param.name,
        kind: match param.kind {
            wit::ParamType::Text => ParamType::Text,
            wit::ParamType::Integer => ParamType::Integer,
            wit::ParamType::Flag => ParamType::Flag,
            wit::ParamType::Target => ParamType::Target,
            wit::ParamType::Duration => ParamType::Duration,
        },
        required: param.required,
        summary: param.summary,
    }
}
