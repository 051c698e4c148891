"""What a key may do at a venue, asked of the venues that tell; a key here trades, and never withdraws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trader.market.connection import ExchangeConnection

#: longest wait for the answer [s]
RIGHTS_S = 10.0


@dataclass(frozen=True, slots=True)
class KeyRights:
    """Rights of a key; None: the venue does not tell."""

    trade: bool | None = None
    withdraw: bool | None = None


def _binance(answer: Mapping[str, Any]) -> KeyRights:
    may_move = any(answer.get(name) for name in ("enableWithdrawals", "permitsUniversalTransfer"))
    return KeyRights(bool(answer.get("enableSpotAndMarginTrading")), may_move)


def _bybit(answer: Mapping[str, Any]) -> KeyRights:
    result = answer.get("result") or {}
    granted = result.get("permissions") or {}
    trades = str(result.get("readOnly", 1)) == "0" and bool(granted.get("Spot"))
    return KeyRights(trades, "Withdraw" in (granted.get("Wallet") or ()))


def _okx(answer: Mapping[str, Any]) -> KeyRights:
    accounts: list[Mapping[str, Any]] = list(answer.get("data") or ())
    return _named(str(accounts[0].get("perm", "")).split(",")) if accounts else KeyRights()


def _kucoin(answer: Mapping[str, Any]) -> KeyRights:
    granted = str((answer.get("data") or {}).get("permission", "")).lower()
    return KeyRights("spot" in granted or "trade" in granted, "withdraw" in granted or "transfer" in granted)


def _kraken(answer: Mapping[str, Any]) -> KeyRights:
    granted = {str(name).lower() for name in (answer.get("result") or {}).get("permissions") or ()}
    return KeyRights(bool(granted & {"modify-trades", "create-orders"}), any("withdraw" in name for name in granted))


def _coinbase(answer: Mapping[str, Any]) -> KeyRights:
    return KeyRights(bool(answer.get("can_trade")), bool(answer.get("can_transfer")))


def _named(granted: Iterable[str]) -> KeyRights:
    names = {name.strip().lower() for name in granted}
    return KeyRights("trade" in names, "withdraw" in names)


#: ccxt's method and what its answer means, by ccxt id
_ASKED: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], KeyRights]]] = {
    "binance": ("sapi_get_account_apirestrictions", _binance),
    "bybit": ("private_get_v5_user_query_api", _bybit),
    "bybiteu": ("private_get_v5_user_query_api", _bybit),
    "okx": ("private_get_account_config", _okx),
    "myokx": ("private_get_account_config", _okx),
    "okxus": ("private_get_account_config", _okx),
    "kucoin": ("private_get_user_api_key", _kucoin),
    "kraken": ("private_post_getapikeyinfo", _kraken),
    "coinbase": ("v3_private_get_brokerage_key_permissions", _coinbase),
}


async def key_rights(connection: ExchangeConnection) -> KeyRights:
    """Ask what the connection's key may do.

    Parameters
    ----------
    connection : ExchangeConnection
        With credentials.

    Returns
    -------
    KeyRights
        With None for what the venue, or its sandbox, does not tell.

    Raises
    ------
    ccxt.BaseError
        When the venue refuses the key, or can't be reached.
    """
    from ccxt.base.errors import BadRequest, ExchangeError, NotSupported, PermissionDenied

    asked = _ASKED.get(connection.market.exchange)
    if asked is None or not hasattr(connection.rest, asked[0]):
        return KeyRights()
    method, read = asked
    try:
        answer = await connection.call(method, deadline_s=RIGHTS_S)
    except (PermissionDenied, NotSupported, BadRequest):
        return KeyRights()
    except ExchangeError as error:
        # a path that this venue (or its sandbox) does not have; wrong keys are what they are
        if type(error) is ExchangeError:
            return KeyRights()
        raise
    return read(answer) if isinstance(answer, Mapping) else KeyRights()
